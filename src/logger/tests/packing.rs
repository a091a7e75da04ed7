//! A rotated file is compressed while programs write, and when that cannot be, the core hears why.

use std::io::Read;

use super::*;

const SINK: SinkId = SinkId(1);

fn compress(core: &mut Core, source: &File, target: File) {
    let source = source.try_clone().expect("a copy");
    core.send(&ToLogger::Compress { sink: SINK }, vec![source.into(), target.into()]);
}

fn compressed(core: &mut Core) -> (u64, Option<i32>) {
    match core.expect(|message| matches!(message, FromLogger::Compressed { .. })) {
        FromLogger::Compressed { sink: SINK, bytes, errno } => (bytes, errno),
        other => panic!("{other:?}"),
    }
}

fn source(core: &Core, bytes: &[u8]) -> File {
    let path = core.directory.path().join("log.1");
    std::fs::write(&path, bytes).expect("written");
    File::open(path).expect("opened")
}

fn target(core: &Core) -> (PathBuf, File) {
    let path = core.directory.path().join("log.gz.tmp");
    let file = File::create(&path).expect("made");
    (path, file)
}

fn content(path: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(File::open(path).expect("opened")).read_to_end(&mut bytes).expect("gzip");
    bytes
}

#[test]
fn a_file_of_any_size_is_compressed() {
    let mut core = Core::new(0, 0);
    for size in [0, 1, 16 << 10, (16 << 10) + 1, 3_000_000_usize] {
        let bytes: Vec<u8> = (0..size).map(|n| u8::try_from(n * n % 251).unwrap_or(0)).collect();
        let (path, target) = target(&core);
        let source = source(&core, &bytes);
        compress(&mut core, &source, target);
        assert_eq!(compressed(&mut core), (size as u64, None));
        assert!(content(&path) == bytes, "{size} bytes");
    }
}

#[test]
fn a_file_is_compressed_although_something_is_always_written() {
    let mut core = Core::new(0, 0);
    core.sink();
    let mut pipe = core.stream(1, Some(1));
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let stopped = std::sync::Arc::clone(&stop);
    let writer = std::thread::spawn(move || {
        let mut lines = 0;
        while !stopped.load(std::sync::atomic::Ordering::Relaxed) {
            pipe.write_all(b"0123456789\n").expect("the pipe is read");
            lines += 1;
        }
        lines
    });
    let bytes = b"a line of the log\n".repeat(10_000);
    let (path, target) = target(&core);
    let source = source(&core, &bytes);
    compress(&mut core, &source, target);
    assert_eq!(compressed(&mut core), (bytes.len() as u64, None));
    assert!(content(&path) == bytes);
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    let lines: usize = writer.join().expect("written");
    core.expect_end(1);
    assert_eq!(core.files(), [b"0123456789\n".repeat(lines)]);
}

#[test]
fn an_error_is_told_and_leaves_nothing_in_the_target() {
    let mut core = Core::new(0, 0);
    let (path, _) = target(&core);
    let source = source(&core, b"text");
    compress(&mut core, &source, File::open(&path).expect("opened"));
    assert_eq!(compressed(&mut core), (4, Some(libc::EBADF)), "it cannot be written");
    let (path, target) = target(&core);
    std::fs::write(&path, "something").expect("written");
    compress(&mut core, &OpenOptions::new().write(true).open(&path).expect("opened"), target);
    assert_eq!(compressed(&mut core), (0, Some(libc::EBADF)), "it cannot be read");
    assert_eq!(std::fs::read(&path).expect("read"), b"");
}

#[test]
fn two_at_once_are_one_too_many() {
    let (core, worker) = socket::message_pair().expect("a pair");
    let mut core = Channel::of_core(core).expect("a channel");
    let directory = tempfile::tempdir().expect("a directory");
    for _ in 0..2 {
        let file = Rc::new(OwnedFd::from(open(&directory.path().join("log"))));
        core.send(&ToLogger::Compress { sink: SINK }, vec![Rc::clone(&file), file]).expect("sent");
    }
    let result = crate::logger::run(Channel::of_worker(worker, true).expect("a channel"));
    assert!(matches!(result, Err(crate::logger::LoggerError::Message(_))));
}
