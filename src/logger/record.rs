//! What a logger notes before it does what a death could cut in two, and what the next one makes of it.
//!
//! A record says where the bytes in hand go and how long that file was. If the logger dies, whatever of them
//! lies behind that length is written, and the rest is not.
#![forbid(unsafe_code)]

use crate::protocol::spawner::SinkId;
use crate::system::block::RECORD;

/// A file, whatever it is called: device and inode.
pub type FileId = (u64, u64);

/// What is being done.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Record {
    #[default]
    Nothing,
    /// What is in hand goes behind `size`.
    Writing { sink: SinkId, file: FileId, size: u64, dress: Dress },
    /// The file is emptied; what is in hand is its unfinished line, which comes back.
    Emptying { sink: SinkId, file: FileId, size: u64 },
    /// The unfinished line of the file before, `start` to `end`, is copied behind `size`, then cut off there.
    Carrying { sink: SinkId, file: FileId, size: u64, start: u64, end: u64 },
}

/// How the bytes are dressed for their file.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Dress {
    /// Milliseconds since 1970, if lines begin with the time.
    pub time: Option<u64>,
    pub strip_ansi: bool,
    /// The file ends in the middle of a line.
    pub mid_line: bool,
}

const FIELDS: usize = RECORD / 8;

impl Record {
    pub fn sink(&self) -> Option<SinkId> {
        match self {
            Self::Nothing => None,
            Self::Writing { sink, .. } | Self::Emptying { sink, .. } | Self::Carrying { sink, .. } => Some(*sink),
        }
    }

    pub fn encode(&self) -> [u8; RECORD] {
        let mut fields = [0; FIELDS];
        let known: &[u64] = match *self {
            Self::Nothing => &[0],
            Self::Writing { sink, file, size, dress } => {
                let Dress { time, strip_ansi, mid_line } = dress;
                let flags = u64::from(time.is_some()) | u64::from(strip_ansi) << 1 | u64::from(mid_line) << 2;
                &[1, sink.0, file.0, file.1, size, flags, time.unwrap_or(0)]
            }
            Self::Emptying { sink, file, size } => &[2, sink.0, file.0, file.1, size],
            Self::Carrying { sink, file, size, start, end } => &[3, sink.0, file.0, file.1, size, start, end],
        };
        fields[..known.len()].copy_from_slice(known);
        let mut bytes = [0; RECORD];
        for (bytes, field) in bytes.chunks_exact_mut(8).zip(fields) {
            bytes.copy_from_slice(&field.to_le_bytes());
        }
        bytes
    }

    /// What is no record is nothing.
    pub fn decode(bytes: &[u8; RECORD]) -> Self {
        let mut fields = [0; FIELDS];
        for (field, bytes) in fields.iter_mut().zip(bytes.chunks_exact(8)) {
            *field = bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte));
        }
        let [kind, sink, device, inode, size, sixth, seventh, ..] = fields;
        let (sink, file) = (SinkId(sink), (device, inode));
        match kind {
            1 => {
                let time = (sixth & 1 != 0).then_some(seventh);
                let dress = Dress { time, strip_ansi: sixth & 2 != 0, mid_line: sixth & 4 != 0 };
                Self::Writing { sink, file, size, dress }
            }
            2 => Self::Emptying { sink, file, size },
            3 => Self::Carrying { sink, file, size, start: sixth, end: seventh },
            _ => Self::Nothing,
        }
    }
}

/// How much more than what was to be written is looked through for it.
pub const LOOKED_THROUGH: usize = 4096;

/// How much of the output lies in the file already, given what stands there behind the noted length. Somebody
/// else may have written there, too: before, after, or both.
pub fn written(output: &[u8], behind: &[u8]) -> usize {
    let same = output.iter().zip(behind).take_while(|(a, b)| a == b).count();
    if same == behind.len() || same == output.len() {
        return same;
    }
    if !output.is_empty() && behind.windows(output.len()).any(|part| part == output) { output.len() } else { 0 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_record() -> impl Strategy<Value = Record> {
        let numbers = (any::<u64>(), any::<u64>(), any::<u64>(), any::<u64>(), any::<u64>());
        (0..4, numbers, prop::option::of(any::<u64>()), any::<bool>(), any::<bool>()).prop_map(
            |(kind, (sink, device, inode, size, more), time, strip_ansi, mid_line)| {
                let (sink, file) = (SinkId(sink), (device, inode));
                match kind {
                    0 => Record::Nothing,
                    1 => Record::Writing { sink, file, size, dress: Dress { time, strip_ansi, mid_line } },
                    2 => Record::Emptying { sink, file, size },
                    _ => Record::Carrying { sink, file, size, start: more, end: more ^ size },
                }
            },
        )
    }

    proptest! {
        #[test]
        fn a_record_is_read_as_it_was_written(record in any_record()) {
            prop_assert_eq!(Record::decode(&record.encode()), record);
        }

        #[test]
        fn whatever_was_written_before_the_death_the_file_has_each_byte_once(
            output in prop::collection::vec(any::<u8>(), 0..300),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut file = output[..cut.index(output.len() + 1)].to_vec();
            let done = written(&output, &file);
            file.extend_from_slice(&output[done..]);
            prop_assert_eq!(file, output);
        }

        #[test]
        fn what_somebody_else_wrote_around_it_changes_nothing(
            output in prop::collection::vec(1u8..100, 1..100),
            before in prop::collection::vec(100u8..200, 0..50),
            after in prop::collection::vec(100u8..200, 0..50),
            was_written in any::<bool>(),
        ) {
            let middle = if was_written { &output[..] } else { &[] };
            let behind = [&before[..], middle, &after].concat();
            prop_assert_eq!(written(&output, &behind), if was_written { output.len() } else { 0 });
        }
    }
}
