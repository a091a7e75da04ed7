//! A logger in a process of its own, killed again and again at any moment while all write as fast as they
//! can: every byte is there once, and every line whole.

use std::collections::BTreeMap;
use std::io::BufRead;
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};

use super::*;
use crate::system::poll::Poll;

/// Set in the process that is the logger.
const IS_LOGGER: &str = "TASKMASTER_TEST_IS_LOGGER";
const KILLS: u32 = 100;

/// What the core keeps of a file.
struct Kept {
    path: PathBuf,
    settings: SinkSettings,
    file: Rc<OwnedFd>,
    name: Option<FileName>,
    before: Option<Rc<OwnedFd>>,
    rotations: u32,
}

impl Kept {
    fn new(path: PathBuf, settings: SinkSettings) -> Self {
        let file: Rc<OwnedFd> = Rc::new(open(&path).into());
        let name = place::name_of(&*file).map(FileName);
        Self { path, settings, file, name, before: None, rotations: 0 }
    }

    fn name(&self, n: u32) -> PathBuf {
        PathBuf::from(format!("{}.{n}", self.path.display()))
    }

    fn rotate(&mut self) {
        self.rotations += 1;
        std::fs::rename(&self.path, self.name(self.rotations)).expect("renamed");
        let old = std::mem::replace(&mut self.file, Rc::new(open(&self.path).into()));
        self.name = place::name_of(&*self.file).map(FileName);
        self.before.get_or_insert(old);
    }

    fn message(&self, id: u64) -> (ToLogger, Vec<Rc<OwnedFd>>) {
        let rotated = self.before.is_some();
        let message =
            ToLogger::Sink { sink: SinkId(id), settings: self.settings, name: self.name, rotated, dropping: false };
        (message, [&self.file].into_iter().chain(&self.before).cloned().collect())
    }

    fn text(&self) -> Vec<u8> {
        let names = (1..=self.rotations).map(|n| self.name(n)).chain([self.path.clone()]);
        let files: Vec<Vec<u8>> = names.map(|name| std::fs::read(name).expect("read")).collect();
        for file in &files {
            assert!(file.last().is_none_or(|last| *last == b'\n'), "{} ends in a line", self.path.display());
        }
        files.concat()
    }
}

struct Mortal {
    channel: Channel,
    process: Child,
    poll: Poll,
}

impl Mortal {
    fn start() -> Self {
        let (core, worker) = socket::message_pair().expect("a pair");
        let name = "logger::tests::killed::whatever_moment_a_logger_is_killed_at_each_byte_is_there_once";
        let process = Command::new(std::env::current_exe().expect("our own path"))
            .args([name, "--exact", "--nocapture"])
            .env(IS_LOGGER, "yes")
            .stdin(Stdio::from(worker))
            .stdout(Stdio::null())
            .spawn()
            .expect("started");
        let channel = Channel::of_core(core).expect("a channel");
        let mut poll = Poll::new().expect("epoll");
        poll.add(&channel, Interest::Read).expect("added");
        Self { channel, process, poll }
    }
}

/// All that outlives a logger.
struct World {
    hand: Vec<Rc<OwnedFd>>,
    sinks: BTreeMap<u64, Kept>,
    /// The pipe and its file.
    streams: BTreeMap<u64, (Rc<OwnedFd>, u64)>,
    logger: Mortal,
}

impl World {
    fn equip(&mut self) {
        let mut messages = vec![(ToLogger::Hand, self.hand.clone())];
        messages.extend(self.sinks.iter().map(|(id, kept)| kept.message(*id)));
        messages.extend(self.streams.iter().map(|(id, (pipe, sink))| {
            let (stream, tail, sink) = (StreamId(*id), TailId(*id), Some(SinkId(*sink)));
            let message =
                ToLogger::Stream { stream, tail, process: "p".into(), channel: Output::Stdout, sink, voice: None };
            (message, vec![Rc::clone(pipe)])
        }));
        messages.push((ToLogger::Begin, Vec::new()));
        for (message, descriptors) in messages {
            self.logger.channel.send(&message, descriptors).expect("sent");
        }
    }

    /// Does as the logger says until the moment, or until nothing is left to read; `false` then.
    fn serve(&mut self, until: Instant) -> bool {
        while !self.streams.is_empty() {
            while let Ok(Some(received)) = self.logger.channel.receive::<FromLogger>() {
                match received.message {
                    FromLogger::Rotate { sink } => {
                        let kept = self.sinks.get_mut(&sink.0).expect("it is known");
                        kept.rotate();
                        let (message, descriptors) = kept.message(sink.0);
                        let _ = self.logger.channel.send(&message, descriptors);
                    }
                    FromLogger::Moved { sink } => self.sinks.get_mut(&sink.0).expect("it is known").before = None,
                    FromLogger::Ended { stream } => drop(self.streams.remove(&stream.0)),
                    FromLogger::Ready => {}
                    other => panic!("{other:?}"),
                }
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            let _ = self.logger.poll.wait(Some(left.min(Duration::from_millis(5))));
        }
        false
    }

    fn kill(&mut self) {
        self.logger.process.kill().expect("killed");
        self.logger.process.wait().expect("waited");
        // What it said before its death counts.
        self.serve(Instant::now());
        self.logger = Mortal::start();
        self.equip();
    }
}

/// Lines of any length, numbered, until it is told to stop; gives how many.
fn writer(mut pipe: File, name: char, stop: Rc<OwnedFd>) -> JoinHandle<u64> {
    let stop = stop.try_clone().expect("a copy");
    std::thread::spawn(move || {
        let mut number = 0;
        while matches!(crate::system::poll::is_readable(&stop), Ok((_, false))) {
            let mut block = Vec::new();
            for _ in 0..100 {
                number += 1;
                let length = usize::try_from(number * 7919 % 97).unwrap_or(0);
                let _ = writeln!(block, "\x1b[1m{name}\x1b[m {number} {}", "x".repeat(length));
            }
            // In odd pieces, so that lines are cut everywhere.
            for piece in block.chunks(1777) {
                pipe.write_all(piece).expect("the pipe is read");
            }
        }
        number
    })
}

fn settings(max_bytes: u64, timestamps: bool, strip_ansi: bool) -> SinkSettings {
    SinkSettings { max_bytes, backups: 1000, timestamps, strip_ansi }
}

#[test]
fn whatever_moment_a_logger_is_killed_at_each_byte_is_there_once() {
    if std::env::var_os(IS_LOGGER).is_some() {
        let channel = std::io::stdin().as_fd().try_clone_to_owned().expect("a channel");
        let _ = crate::logger::run(Channel::of_worker(channel, true).expect("a channel"));
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let path = |name: &str| directory.path().join(name);
    let sinks = BTreeMap::from([
        (1, Kept::new(path("plain"), settings(300_000, false, false))),
        (2, Kept::new(path("shared"), settings(200_000, false, false))),
        (3, Kept::new(path("dressed"), settings(150_000, true, true))),
    ]);
    let hand = hand().into_iter().map(Rc::new).collect();
    let mut world = World { hand, sinks, streams: BTreeMap::new(), logger: Mortal::start() };
    let (ends, stop) = stdio::output_pipe().expect("a pipe");
    let ends = Rc::new(ends);
    let writers: Vec<(char, JoinHandle<u64>)> = [('a', 1), ('b', 2), ('c', 2), ('d', 3)]
        .into_iter()
        .zip(11..)
        .map(|((name, sink), id)| {
            let (read, write) = stdio::output_pipe().expect("a pipe");
            world.streams.insert(id, (Rc::new(read), sink));
            (name, writer(write.into(), name, Rc::clone(&ends)))
        })
        .collect();
    world.equip();
    for n in 0..KILLS {
        // On a busy machine a life is too short for the last of them: now and then it is long enough for all.
        let life = if n % 10 == 9 { 100_000 } else { u64::from(n * 7919 % 15_000) + 500 };
        let life = Duration::from_micros(life);
        assert!(world.serve(Instant::now() + life), "the writers write");
        world.kill();
    }
    drop(stop);
    assert!(!world.serve(Instant::now() + DEADLINE), "all is read");
    let _ = world.logger.process.kill();
    world.logger.process.wait().expect("waited");
    let written: BTreeMap<char, u64> =
        writers.into_iter().map(|(name, thread)| (name, thread.join().expect("written"))).collect();
    let mut seen: BTreeMap<char, u64> = BTreeMap::new();
    for kept in world.sinks.values() {
        for line in kept.text().lines() {
            let line = line.expect("text");
            let line = if kept.settings.timestamps {
                let (time, line) = line.split_at(super::super::dress::TIME);
                assert!(time.starts_with("20") && time.ends_with("Z "), "{time:?} before {line:?}");
                line.to_owned()
            } else {
                line.replace("\x1b[1m", "").replace("\x1b[m", "")
            };
            let name = line.chars().next().expect("a name");
            let number = seen.entry(name).or_default();
            *number += 1;
            let length = usize::try_from(*number * 7919 % 97).expect("short");
            assert_eq!(line, format!("{name} {number} {}", "x".repeat(length)));
        }
    }
    assert_eq!(seen, written);
    assert!(written.values().all(|lines| *lines > 1000), "each has its turn: {written:?}");
}
