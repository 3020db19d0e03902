//! The access log: one line a request, as JSON or in the shape of another program's log.
//!
//! ```text
//! worker: LogShard::write → its buffer ─ 16 KiB or a flush tick → bounded channel → writer thread → file
//! ```
//!
//! No request ever waits for the log: when the writer is behind, lines are dropped and counted. Secrets,
//! cookies, query strings and user keys have no field here, so they cannot appear.

mod entry;
mod formats;
mod json;
mod target;

pub use entry::{Entry, LineFormat};
pub use formats::Format;
pub use target::Target;

use std::cell::RefCell;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use target::Sink;

/// A buffer is handed to the writer when it has grown beyond this many bytes.
const FLUSH_BYTES: usize = 16 * 1024;

/// How many blocks may wait for the writer: 4 MiB of lines.
const BLOCKS_WAITING_MAX: usize = 256;

/// A running access log. When it and all its shards are dropped, the writer thread writes the rest and ends.
#[derive(Debug)]
pub struct AccessLog {
    format: Format,
    blocks: BlockSender,
    counters: LogCounters,
    writer: Option<thread::JoinHandle<()>>,
}

/// How many lines were lost; cheap to clone, and readable after the log has ended.
#[derive(Clone, Debug, Default)]
pub struct LogCounters {
    dropped: Arc<AtomicU64>,
}

/// Nothing is sent as the last of all blocks.
type BlockSender = SyncSender<Option<Block>>;

/// One worker's end of the access log. Buffers lines; dropping it flushes.
#[derive(Debug)]
pub struct LogShard {
    blocks: BlockSender,
    counters: LogCounters,
    buffer: RefCell<Buffer>,
}

#[derive(Debug)]
struct Buffer {
    format: LineFormat,
    block: Block,
}

/// Whole lines.
#[derive(Debug, Default)]
struct Block {
    bytes: Vec<u8>,
    lines: u64,
}

impl AccessLog {
    /// Opens the target and starts the writer thread. Fails when a file cannot be opened.
    pub fn start(target: Target, format: Format) -> io::Result<AccessLog> {
        let sink = Sink::open(target)?;
        let counters = LogCounters::default();
        let (blocks, waiting) = sync_channel(BLOCKS_WAITING_MAX);
        let of_writer = counters.clone();
        let writer =
            thread::Builder::new().name("access-log".into()).spawn(move || write_all(&waiting, sink, &of_writer))?;
        Ok(AccessLog { format, blocks, counters, writer: Some(writer) })
    }

    /// A worker's end.
    pub fn shard(&self) -> LogShard {
        LogShard::new(self.format, self.blocks.clone(), self.counters.clone())
    }

    /// How many lines were lost.
    pub fn counters(&self) -> LogCounters {
        self.counters.clone()
    }

    /// Writes all that was handed over and ends. What shards that still live hand over later is dropped and
    /// counted, so drop them first.
    pub fn finish(self) {
        let AccessLog { blocks, writer, .. } = self;
        let is_running = blocks.send(None).is_ok();
        if let Some(writer) = writer.filter(|_| is_running) {
            // The thread's result is empty.
            let _ = writer.join();
        }
    }
}

impl LogCounters {
    /// Lines that were dropped because the writer was behind or the target did not take them.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    fn add(&self, lines: u64) {
        self.dropped.fetch_add(lines, Ordering::Relaxed);
    }
}

impl LogShard {
    fn new(format: Format, blocks: BlockSender, counters: LogCounters) -> LogShard {
        let buffer = Buffer { format: LineFormat::new(format), block: Block::default() };
        LogShard { blocks, counters, buffer: RefCell::new(buffer) }
    }

    /// Adds a line. Never blocks.
    pub fn write(&self, entry: &Entry<'_>) {
        let mut buffer = self.buffer.borrow_mut();
        let Buffer { format, block } = &mut *buffer;
        format.write(entry, &mut block.bytes);
        block.lines += 1;
        if block.bytes.len() >= FLUSH_BYTES {
            self.hand_over(block);
        }
    }

    /// Hands over what has gathered; called by the worker about five times a second, so that lines of a quiet
    /// server are seen soon.
    pub fn flush_tick(&self) {
        self.hand_over(&mut self.buffer.borrow_mut().block);
    }

    fn hand_over(&self, block: &mut Block) {
        if block.lines == 0 {
            return;
        }
        match self.blocks.try_send(Some(std::mem::take(block))) {
            Ok(()) => block.bytes.reserve(FLUSH_BYTES + Entry::BYTES_TYPICAL),
            Err(TrySendError::Full(refused) | TrySendError::Disconnected(refused)) => {
                let Block { mut bytes, lines } = refused.unwrap_or_default();
                self.counters.add(lines);
                bytes.clear();
                *block = Block { bytes, lines: 0 };
            }
        }
    }
}

impl Drop for LogShard {
    fn drop(&mut self) {
        self.flush_tick();
    }
}

fn write_all(waiting: &Receiver<Option<Block>>, mut sink: Sink, counters: &LogCounters) {
    let mut failing = false;
    for block in waiting.iter().map_while(|block| block) {
        match sink.write(&block.bytes) {
            Ok(()) => failing = false,
            Err(error) => {
                counters.add(block.lines);
                if !std::mem::replace(&mut failing, true) {
                    tracing::warn!(target = %sink, %error, "access log cannot be written, lines are dropped and counted");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn lines(path: &Path) -> Vec<serde_json::Value> {
        let text = std::fs::read_to_string(path).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn lines_of_all_workers_reach_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        let log = AccessLog::start(Target::File(path.clone()), Format::Ringway).unwrap();
        thread::scope(|scope| {
            for _ in 0..2 {
                let shard = log.shard();
                scope.spawn(move || {
                    for bucket in 0..100 {
                        shard.write(&Entry { bucket: Some(bucket), ..Entry::default() });
                    }
                });
            }
        });
        let counters = log.counters();
        log.finish();
        assert_eq!((lines(&path).len(), counters.dropped()), (200, 0));
    }

    #[test]
    fn when_the_writer_is_behind_lines_are_dropped_and_counted() {
        let (blocks, waiting) = sync_channel(1);
        let counters = LogCounters::default();
        let shard = LogShard::new(Format::Ringway, blocks, counters.clone());
        for _ in 0..3 {
            shard.write(&Entry::default());
            shard.flush_tick();
        }
        shard.flush_tick();
        assert_eq!(counters.dropped(), 2);
        assert_eq!(waiting.recv().unwrap().unwrap().lines, 1);
        shard.write(&Entry::default());
        shard.flush_tick();
        assert_eq!((waiting.recv().unwrap().unwrap().lines, counters.dropped()), (1, 2), "there is room again");
        drop(waiting);
        shard.write(&Entry::default());
        drop(shard);
        assert_eq!(counters.dropped(), 3);
    }

    #[test]
    fn the_log_ends_with_shards_alive_and_writes_what_it_has() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        let log = AccessLog::start(Target::File(path.clone()), Format::Ringway).unwrap();
        let (shard, counters) = (log.shard(), log.counters());
        shard.write(&Entry::default());
        shard.flush_tick();
        log.finish();
        shard.write(&Entry::default());
        drop(shard);
        assert_eq!((lines(&path).len(), counters.dropped()), (1, 1));
    }

    #[test]
    fn a_full_buffer_is_handed_over_without_a_tick() {
        let (blocks, waiting) = sync_channel(1);
        let shard = LogShard::new(Format::Ringway, blocks, LogCounters::default());
        while waiting.try_recv().is_err() {
            shard.write(&Entry { path: "/some/path", ..Entry::default() });
        }
        assert_eq!(shard.buffer.borrow().block.lines, 0);
    }

    #[test]
    fn a_file_that_was_moved_away_is_opened_again() {
        let folder = tempfile::tempdir().unwrap();
        let (path, old) = (folder.path().join("access.log"), folder.path().join("access.log.1"));
        let mut sink = Sink::open(Target::File(path.clone())).unwrap();
        sink.write(b"{}\n").unwrap();
        std::fs::rename(&path, &old).unwrap();
        sink.write(b"{}\n{}\n").unwrap();
        assert_eq!((lines(&old).len(), lines(&path).len()), (1, 2));
    }

    #[test]
    fn a_target_that_takes_nothing_is_counted() {
        let full = Path::new("/dev/full");
        if !full.exists() {
            return;
        }
        let log = AccessLog::start(Target::File(full.to_owned()), Format::Ringway).unwrap();
        let shard = log.shard();
        shard.write(&Entry::default());
        shard.write(&Entry::default());
        drop(shard);
        let counters = log.counters();
        log.finish();
        assert_eq!(counters.dropped(), 2);
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_an_error_at_the_start() {
        let folder = tempfile::tempdir().unwrap();
        assert!(AccessLog::start(Target::File(folder.path().join("missing/access.log")), Format::Ringway).is_err());
    }
}
