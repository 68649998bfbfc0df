//! A flame graph as one SVG file: hover tells a frame's share, a click makes it as wide as the picture.
//!
//! Roots are below. A frame has the colour of the stage that a stack ending there would belong to. Each frame is an inner
//! `<svg>` with relative place and width, which cuts its text; the script changes nothing but those two.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::stacks::{Frame, Stack};
use super::stages::{Stage, stage, stage_of};

/// Width in pixels.
const WIDTH: u32 = 1400;
/// Height of a frame in pixels.
const ROW: usize = 17;
/// Space for the headline in pixels.
const HEAD: usize = 30;
/// Frames below this share are left out: they would be thinner than half a pixel.
const THINNEST: f64 = 0.0004;

/// Zooms: of the frames `g`, those that have part of the one clicked (`x` to `x + w`) are spread over all the width.
const SCRIPT: &str = r"
const all = [...document.querySelectorAll('svg.f')].map(f => ({ f, x: +f.dataset.x, w: +f.dataset.w }));
function zoom(x, w) {
  for (const g of all) {
    const left = Math.max(g.x, x), right = Math.min(g.x + g.w, x + w), part = right - left;
    g.f.style.display = part > w * 1e-6 ? '' : 'none';
    g.f.setAttribute('x', (left - x) / w * 100 + '%');
    g.f.setAttribute('width', Math.max(part, 0) / w * 100 + '%');
  }
}
for (const g of all) g.f.addEventListener('click', () => zoom(g.x, g.w));
";

/// A call, and what was called from there.
#[derive(Default)]
struct Node<'s> {
    weight: u64,
    inner: BTreeMap<&'s Frame, Self>,
}

/// The picture of these stacks, by thread.
pub(crate) fn svg(stacks: &BTreeMap<Stack, u64>, headline: &str) -> String {
    let mut threads: BTreeMap<&str, Node<'_>> = BTreeMap::new();
    for (stack, weight) in stacks {
        let mut node = threads.entry(&stack.thread).or_default();
        node.weight += weight;
        for frame in &stack.frames {
            node = node.inner.entry(frame).or_default();
            node.weight += weight;
        }
    }
    let all = stacks.values().sum::<u64>().max(1);
    let deepest = stacks.keys().map(|stack| stack.frames.len()).max().unwrap_or(0);
    let height = HEAD + (deepest + 2) * ROW;
    let mut picture = Picture { out: String::new(), all, height };
    picture.open(headline);
    picture.frame("all", Stage::Drive.colour(), (0, all), 0);
    let mut from = 0;
    for (name, node) in &threads {
        let alone = Stack { thread: (*name).to_owned(), frames: Vec::new() };
        picture.frame(name, stage(&alone).colour(), (from, node.weight), 1);
        // In a thread whose stage is known by its name, frames decide nothing.
        picture.inner(node, from, 2, stage(&alone));
        from += node.weight;
    }
    let _ = write!(picture.out, "<script><![CDATA[{SCRIPT}]]></script>\n</svg>\n");
    picture.out
}

struct Picture {
    out: String,
    all: u64,
    height: usize,
}

impl Picture {
    fn open(&mut self, headline: &str) {
        let height = self.height;
        let _ = write!(
            self.out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
             font-family=\"sans-serif\" font-size=\"11\">\n<style>svg.f {{ cursor: pointer }} \
             svg.f rect {{ stroke: #fff; stroke-width: .5 }}</style>\n<rect width=\"100%\" height=\"100%\" \
             fill=\"#fff\"/>\n<text x=\"8\" y=\"19\" font-size=\"14\">{}</text>\n",
            Escaped(headline)
        );
    }

    /// What was called from a node whose first sample is at `from`; `outer` is the stage of what calls.
    fn inner(&mut self, node: &Node<'_>, mut from: u64, depth: usize, outer: Stage) {
        for (frame, inner) in &node.inner {
            let stage = if outer == Stage::Control { outer } else { stage_of(&frame.symbol).unwrap_or(outer) };
            let name = if frame.kernel { &format!("{} [kernel]", frame.symbol) } else { &frame.symbol };
            if self.frame(name, stage.colour(), (from, inner.weight), depth) {
                self.inner(inner, from, depth + 1, stage);
            }
            from += inner.weight;
        }
    }

    /// Paints a frame, unless it is too thin to be seen.
    #[expect(clippy::cast_precision_loss, reason = "samples are far below 2^52")]
    fn frame(&mut self, name: &str, colour: &str, (from, weight): (u64, u64), depth: usize) -> bool {
        let (x, w) = (from as f64 / self.all as f64, weight as f64 / self.all as f64);
        if w < THINNEST {
            return false;
        }
        let y = self.height - (depth + 1) * ROW;
        let _ = writeln!(
            self.out,
            "<svg class=\"f\" data-x=\"{x:.6}\" data-w=\"{w:.6}\" x=\"{:.4}%\" width=\"{:.4}%\" y=\"{y}\" \
             height=\"{ROW}\"><title>{name}: {weight} samples, {:.2} %</title><rect width=\"100%\" height=\"100%\" \
             fill=\"{colour}\"/><text x=\"3\" y=\"12\">{name}</text></svg>",
            x * 100.0,
            w * 100.0,
            w * 100.0,
            name = Escaped(name),
        );
        true
    }
}

/// A text as XML wants it.
struct Escaped<'t>(&'t str);

impl std::fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for letter in self.0.chars() {
            match letter {
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '&' => f.write_str("&amp;")?,
                '"' => f.write_str("&quot;")?,
                // XML 1.0 §2.2 has no place for control characters, escaped or not.
                other if other.is_control() => f.write_char('?')?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stacks() -> BTreeMap<Stack, u64> {
        let frame = |symbol: &str| Frame { symbol: symbol.to_owned(), kernel: false };
        let stack = |thread: &str, frames: &[&str]| Stack {
            thread: thread.to_owned(),
            frames: frames.iter().map(|symbol| frame(symbol)).collect(),
        };
        BTreeMap::from([
            (stack("media-0", &["plenary::driver::worker::Worker::run", "<V<T> as \"I\" & J>::go"]), 3),
            (stack("media-0", &["plenary::driver::worker::Worker::run"]), 1),
            (stack("tokio-rt-worker", &[]), 4),
        ])
    }

    /// Whether every element that is opened is closed in its turn.
    fn is_balanced(svg: &str) -> bool {
        let (before, rest) = svg.split_once("<![CDATA[").unwrap_or((svg, "]]>"));
        let after = rest.split_once("]]>").map_or("", |(_, after)| after);
        let mut open = Vec::new();
        for tag in format!("{before}{after}").split('<').skip(1) {
            let Some((tag, text)) = tag.split_once('>') else { return false };
            if text.contains('>') {
                return false;
            }
            let name = tag.split_whitespace().next().unwrap_or_default().trim_end_matches('/');
            match name.strip_prefix('/') {
                Some(closed) if open.pop() != Some(closed.to_owned()) => return false,
                None if !tag.ends_with('/') => open.push(name.to_owned()),
                Some(_) | None => {}
            }
        }
        open.is_empty()
    }

    #[test]
    fn it_is_well_formed() {
        let svg = svg(&stacks(), "a < b & c");
        assert!(is_balanced(&svg), "{svg}");
        assert!(!is_balanced(&svg.replacen("</title>", "", 1)));
        assert!(svg.contains(">a &lt; b &amp; c<"));
        assert!(svg.contains("&lt;V&lt;T&gt; as &quot;I&quot; &amp; J&gt;::go: 3 samples, 37.50 %"));
    }

    #[test]
    fn frames_are_as_wide_as_their_share_and_painted_by_stage() {
        let svg = svg(&stacks(), "");
        let line = |name: &str| svg.lines().find(|line| line.contains(&format!("<title>{name}"))).unwrap_or_default();
        assert!(line("plenary::driver::worker::Worker::run: 4").contains("data-x=\"0.000000\" data-w=\"0.500000\""));
        assert!(line("tokio-rt-worker: 4").contains("data-x=\"0.500000\" data-w=\"0.500000\""));
        assert!(line("tokio-rt-worker: 4").contains(Stage::Control.colour()));
        assert!(line("plenary::driver").contains(Stage::Drive.colour()));
    }

    #[test]
    fn what_is_too_thin_to_be_seen_is_left_out() {
        let thin = Stack { thread: "thin".to_owned(), frames: Vec::new() };
        let wide = Stack { thread: "wide".to_owned(), frames: Vec::new() };
        let svg = svg(&BTreeMap::from([(thin, 1), (wide, 100_000)]), "");
        assert!(svg.contains("wide") && !svg.contains("thin"));
    }
}
