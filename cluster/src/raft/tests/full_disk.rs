//! A node whose disk is full, on a small file system of its own.

use std::env;
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command as Process;

use super::*;
use crate::directory::ProposeError;

const PLACE: &str = "PLENARY_FULL_DISK";

/// Leaves this much room and no less at any moment: the node may look at any.
fn fill_up_to(path: &Path, room: u64) {
    let free = || {
        let found = rustix::fs::statvfs(path).expect("a file system");
        found.f_bavail * found.f_frsize
    };
    let mut file = File::create(path).expect("a file");
    while free() > room + 65536 {
        file.write_all(&[7; 65536]).expect("there is room");
    }
}

/// Fills the file system up to the last byte.
fn fill(path: &Path) {
    let mut file = File::create(path).expect("a file");
    for size in [65536, 512, 1] {
        loop {
            match file.write_all(&vec![7; size]) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => break,
                Err(error) => panic!("{error}"),
            }
        }
    }
}

/// Runs the test of this name once more, in a mount namespace of its own with 32 MiB of memory for a disk; there, this
/// gives the place of the disk.
fn on_a_disk_of_its_own(test: &str) -> Option<PathBuf> {
    if let Some(place) = env::var_os(PLACE) {
        return Some(PathBuf::from(place));
    }
    let place = tempfile::tempdir().expect("a folder");
    let script = format!("mount -t tmpfs -o size=32m tmpfs \"${PLACE}\" && exec \"$@\"");
    let ran = Process::new("unshare")
        .args(["--mount", "sh", "-c", &script, "sh"])
        .arg(env::current_exe().expect("this binary"))
        .args(["--exact", &format!("raft::tests::full_disk::{test}")])
        .env(PLACE, place.path())
        .env("TMPDIR", place.path())
        .output()
        .expect("unshare runs");
    let said = [ran.stdout, ran.stderr].map(|said| String::from_utf8_lossy(&said).into_owned());
    assert!(ran.status.success(), "{}", said.concat());
    None
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_changes_until_there_is_room() {
    let Some(place) = on_a_disk_of_its_own("a_full_disk_refuses_changes_until_there_is_room") else { return };
    let mut cluster = Cluster::founded().await;
    let node = Arc::clone(cluster.node(0));
    let folder = cluster.members[0].folder.path().to_owned();
    let reserved = || fs::metadata(folder.join("reserve")).map_or(0, |file| file.len());
    node.propose(Some(meeting(1)), create(1)).await.expect("there is room");
    let whole = reserved();
    assert!(whole > 0, "a reserve was allocated");

    // Nearly full: the reserve is kept, changes are refused, what is known can be read.
    let full = place.join("filler");
    fill_up_to(&full, 2 * 1024 * 1024);
    until("the node has looked", || node.space.was_full().is_some()).await;
    let refused = node.propose(Some(meeting(2)), create(2)).await.expect_err("there is no room");
    let ProposeError::StorageFull { node: who, folder: named } = &refused else {
        panic!("refused otherwise: {refused}")
    };
    assert_eq!((*who, Path::new(named)), (node.id(), &*folder));
    assert_eq!(reserved(), whole);
    assert!(node.read_linearizable().await.expect("reads go on").meeting(meeting(1)).is_some());

    // Full to the last byte: the reserve makes room for what ends things, for a snapshot, for another start and its vote.
    fill(&place.join("more"));
    until("the reserve is given up", || reserved() == 0).await;
    node.propose(Some(meeting(1)), Command::DeleteMeeting { meeting: meeting(1) }).await.expect("it makes room");
    node.raft.trigger().snapshot().await.expect("raft runs");
    until("a snapshot in spite of the full disk", || node.with_metrics(|metrics| metrics.snapshot.is_some())).await;
    let term = node.status().term;
    drop(node);
    let kept = cluster.kill(0).await;
    let node = start(&cluster.mesh, 1, &kept).await;
    until("a vote in spite of the full disk", || node.status().term > term && node.status().leader.is_some()).await;
    assert!(matches!(node.propose(Some(meeting(3)), create(3)).await, Err(ProposeError::StorageFull { .. })));

    // There is room again, and nobody has to tell it.
    fs::remove_file(full).expect("removed");
    fs::remove_file(place.join("more")).expect("removed");
    register(&node).await;
    eventually(|| node.propose(Some(meeting(4)), create(4))).await;
    assert_eq!(reserved(), whole);
    assert!(node.read_local().meeting(meeting(2)).is_none() && node.read_local().meeting(meeting(4)).is_some());
    node.shutdown().await;
}

/// The rows have a disk of their own here, so that nothing but them fails.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_whose_rows_did_not_get_to_the_disk_stops_though_nothing_follows() {
    let Some(_) = on_a_disk_of_its_own("a_member_whose_rows_did_not_get_to_the_disk_stops_though_nothing_follows")
    else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let rows = folder.path().join("raft.sled");
    fs::create_dir(&rows).expect("a folder");
    let mounted = Process::new("mount").args(["-t", "tmpfs", "-o", "size=4m", "tmpfs"]).arg(&rows).status();
    assert!(mounted.expect("mount runs").success());
    let mesh = Mesh::default();
    let node = start(&mesh, 1, &folder).await;
    node.initialize().await.expect("founds");
    register(&node).await;

    fill(&rows.join("filler"));
    let Command::CreateMeeting(mut large) = create(1) else { panic!("it creates one") };
    Arc::make_mut(&mut large).description = "x".repeat(20_000);
    // The log has room for it; but what the rows still had to carry may have failed even before.
    drop(node.propose(Some(meeting(1)), Command::CreateMeeting(large)).await);
    let reason = tokio::time::timeout(PATIENCE, node.stopped()).await.expect("it is found out and told");
    assert!(reason.contains("rows can't be written: sled"), "{reason}");
    node.shutdown().await;
}
