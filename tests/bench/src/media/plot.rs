//! Plots of a run: µs a packet over the size, a line for each server.

use std::collections::BTreeSet;
use std::path::{Path as FilePath, PathBuf};

use anyhow::{Context, Result, anyhow};
use plotters::prelude::*;

use super::cell::{Cell, Who};
use super::network::Path;
use super::server::Kind;
use super::table::{Row, Table};
use super::workload::Workload;

const SIZE: (u32, u32) = (720, 420);

/// One server's line: size and µs a packet.
type Line = (Who, Vec<(f64, f64)>);

/// Draws each workload and path of the table that has a figure into the folder; the files.
pub(super) fn draw(table: &Table<'_>, folder: &FilePath) -> Result<Vec<PathBuf>> {
    std::fs::create_dir_all(folder).with_context(|| format!("--plots {}", folder.display()))?;
    let rows = table.rows();
    let places: BTreeSet<(Workload, Path)> = rows.iter().map(|row| (row.workload, row.path)).collect();
    let mut files = Vec::new();
    for (workload, path) in places {
        let of: Vec<Row> = rows.iter().copied().filter(|row| (row.workload, row.path) == (workload, path)).collect();
        let lines = lines(table, &of);
        if lines.iter().any(|(_, points)| !points.is_empty()) {
            let file = folder.join(format!("{}-{}.svg", workload.to_string().to_lowercase(), path.name()));
            draw_one(&file, &format!("{workload}, {}: {}", path.name(), workload.words()), workload.unit(), &lines)
                .map_err(|error| anyhow!("{}: {error}", file.display()))?;
            files.push(file);
        }
    }
    Ok(files)
}

fn lines(table: &Table<'_>, rows: &[Row]) -> Vec<Line> {
    let who: BTreeSet<Who> = rows.iter().map(|row| row.who).collect();
    let point = |row: &Row| Some((f64::from(row.size), table.middle(*row, Cell::micros)?));
    let line = |who: Who| (who, rows.iter().filter(|row| row.who == who).filter_map(point).collect());
    who.into_iter().map(line).collect()
}

fn draw_one(file: &FilePath, title: &str, unit: &str, lines: &[Line]) -> Result<(), Box<dyn std::error::Error>> {
    let points = || lines.iter().flat_map(|(_, points)| points);
    let right = points().map(|(size, _)| *size).fold(0.0, f64::max) * 1.05;
    let top = points().map(|(_, micros)| *micros).fold(0.0, f64::max) * 1.1;
    let root = SVGBackend::new(file, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let mut builder = ChartBuilder::on(&root);
    builder.caption(title, ("sans-serif", 17)).margin(12).x_label_area_size(38).y_label_area_size(52);
    let mut chart = builder.build_cartesian_2d(0.0..right, 0.0..top)?;
    chart.configure_mesh().x_desc(unit).y_desc("µs a delivered packet").light_line_style(WHITE).draw()?;
    for (who, points) in lines {
        let colour = colour(*who);
        let drawn = chart.draw_series(LineSeries::new(points.iter().copied(), colour.stroke_width(2)).point_size(4))?;
        drawn.label(who.name()).legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
    }
    chart.configure_series_labels().background_style(WHITE.mix(0.8)).border_style(BLACK.mix(0.3)).draw()?;
    root.present()?;
    Ok(())
}

const fn colour(who: Who) -> RGBColor {
    match who {
        Who::Server(Kind::Plenary) => RGBColor(0, 114, 178),
        Who::Server(Kind::Plain) => RGBColor(230, 159, 0),
        Who::Server(Kind::Pion) => RGBColor(0, 158, 115),
        Who::Server(Kind::Janus) => RGBColor(213, 94, 0),
        Who::Floor => RGBColor(110, 110, 110),
    }
}

#[cfg(test)]
mod tests {
    use super::super::cell::Step;
    use super::*;

    #[test]
    fn each_workload_and_path_gets_a_plot_with_all_names() {
        let cell = |size, kind| {
            let step = Step { workload: Workload::W3, path: Path::Lo, size, leg: 0, who: Who::Server(kind) };
            Cell { packets: 10, cpu_ns: u64::from(size), ..Cell::empty(step) }
        };
        let cells = [20, 50].map(|size| [cell(size, Kind::Plenary), cell(size, Kind::Pion)]).concat();
        let folder = tempfile::tempdir().expect("a folder");
        let files = draw(&Table::new(&cells), folder.path()).expect("plots");
        assert_eq!(files, [folder.path().join("w3-lo.svg")]);
        let svg = std::fs::read_to_string(&files[0]).expect("the file");
        assert!(svg.contains("plenary") && svg.contains("pion") && svg.matches("<polyline").count() >= 2, "{svg}");
    }
}
