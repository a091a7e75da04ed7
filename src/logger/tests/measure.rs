//! How fast bytes get from a pipe into a file, and how much memory that takes: numbers, not promises.

use super::*;

#[test]
#[ignore = "a measurement: cargo test --release --lib logger::tests::measure -- --ignored --nocapture"]
fn one_gibibyte_of_short_lines() {
    for (max_bytes, backups) in [(0, 0), (50 << 20, 10)].repeat(3) {
        let directory = tempfile::tempdir_in("/dev/shm").expect("a directory");
        let mut core = Core::in_directory(directory, max_bytes, backups);
        core.sink();
        let mut pipe = core.stream(1, Some(1));
        let block = format!("{}\n", "x".repeat(99)).repeat(2621);
        let begin = Instant::now();
        let writer = std::thread::spawn(move || {
            let mut left: usize = 1 << 30;
            while left > 0 {
                let count = left.min(block.len());
                pipe.write_all(&block.as_bytes()[..count]).expect("the pipe is read");
                left -= count;
            }
        });
        core.expect_end(1);
        let took = begin.elapsed();
        writer.join().expect("written");
        let rate = 1024.0 / took.as_secs_f64();
        let _ = writeln!(std::io::stderr(), "max_bytes {max_bytes}: {took:?}, {rate:.0} MiB/s");
        assert_eq!(core.files().iter().map(Vec::len).sum::<usize>(), 1 << 30);
    }
}
