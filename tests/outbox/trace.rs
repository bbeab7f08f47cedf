//! What a process did to the files of a folder, as the shim noted it, and what a power cut may leave of that.

use std::{collections::BTreeMap, fs, path::Path};

use andon::random::Rng;

/// One call.
#[derive(Clone, Debug)]
pub enum Op {
    /// A file is there under a name.
    Name(u64, String),
    /// Bytes at an offset.
    Write(u64, usize, Vec<u8>),
    /// A new length.
    Truncate(u64, usize),
    /// All of a file is on the disk; 0 is the folder.
    Sync(u64),
    /// A name is gone.
    Unlink(String),
    /// What the process says about itself.
    Mark(String),
}

/// The file in which the process says something about itself.
pub const MARKERS: &str = "markers";

/// Reads the calls in order.
pub fn read(path: &Path) -> Vec<Op> {
    let bytes = fs::read(path).unwrap();
    let mut rest = bytes.as_slice();
    let mut ops = Vec::new();
    let mut markers = None;
    while let Some((head, left)) = rest.split_at_checked(25) {
        let number = |at: usize| u64::from_ne_bytes(head[at..at + 8].try_into().unwrap());
        let (kind, inode, offset) = (head[0], number(1), number(9) as usize);
        let length = if kind == b't' { 0 } else { number(17) as usize };
        let (data, left) = left.split_at(length);
        rest = left;
        let text = || String::from_utf8(data.to_vec()).unwrap();
        ops.push(match kind {
            b'n' if data == MARKERS.as_bytes() => {
                markers = Some(inode);
                continue;
            }
            b'w' if markers == Some(inode) => Op::Mark(text()),
            b'n' | b'r' => Op::Name(inode, text()),
            b'w' => Op::Write(inode, offset, data.to_vec()),
            b't' => Op::Truncate(inode, offset),
            b's' => Op::Sync(inode),
            b'u' => Op::Unlink(text()),
            other => panic!("the trace has a record of kind {other}"),
        });
    }
    ops
}

/// The disk as it is written to: what is certain, and what is on its way.
#[derive(Default)]
pub struct Model {
    files: BTreeMap<u64, (Vec<u8>, Vec<Op>)>,
    names: BTreeMap<String, u64>,
    names_on_the_way: Vec<Op>,
}

/// How much of what is on its way arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// All: the process ended and the power stayed.
    All,
    /// Nothing.
    None,
    /// Sectors by chance, so many of a hundred, whatever their order.
    Sectors(i32),
    /// Calls in order up to one of them, and of that one a part.
    Prefix,
}

/// A disk writes so much as a whole.
const SECTOR: usize = 512;

impl Model {
    /// The next call.
    pub fn apply(&mut self, op: &Op) {
        match op {
            Op::Mark(_) => {}
            Op::Name(..) | Op::Unlink(_) => self.names_on_the_way.push(op.clone()),
            Op::Write(inode, ..) | Op::Truncate(inode, _) => {
                self.files.entry(*inode).or_default().1.push(op.clone());
            }
            Op::Sync(0) => {
                let arrived = std::mem::take(&mut self.names_on_the_way);
                arrived.iter().for_each(|op| rename(&mut self.names, op));
            }
            Op::Sync(inode) => {
                let (bytes, pending) = self.files.entry(*inode).or_default();
                std::mem::take(pending).iter().for_each(|op| change(bytes, op, |_| true));
            }
        }
    }

    /// What may be found after a power cut now.
    pub fn cut(&self, arrival: Arrival, rng: &mut Rng) -> BTreeMap<String, Vec<u8>> {
        let mut names = self.names.clone();
        let arrived = match arrival {
            Arrival::All => self.names_on_the_way.len(),
            Arrival::None => 0,
            Arrival::Sectors(_) | Arrival::Prefix => rng.below(self.names_on_the_way.len() as i32 + 1) as usize,
        };
        self.names_on_the_way[..arrived].iter().for_each(|op| rename(&mut names, op));
        let cut = |inode: &u64, rng: &mut Rng| {
            let Some((bytes, pending)) = self.files.get(inode) else { return Vec::new() };
            let mut bytes = bytes.clone();
            let whole = if arrival == Arrival::Prefix { rng.below(pending.len() as i32 + 1) as usize } else { 0 };
            for (number, op) in pending.iter().enumerate() {
                change(&mut bytes, op, |_sector| match arrival {
                    Arrival::All => true,
                    Arrival::None => false,
                    Arrival::Sectors(percent) => rng.chance(percent),
                    Arrival::Prefix => number < whole || (number == whole && rng.chance(50)),
                });
            }
            bytes
        };
        names.iter().map(|(name, inode)| (name.clone(), cut(inode, rng))).collect()
    }
}

fn rename(names: &mut BTreeMap<String, u64>, op: &Op) {
    match op {
        Op::Name(inode, name) => {
            names.retain(|_, known| known != inode);
            names.insert(name.clone(), *inode);
        }
        Op::Unlink(name) => drop(names.remove(name)),
        _ => {}
    }
}

/// Applies a call to a file, as far as its sectors arrive.
fn change(bytes: &mut Vec<u8>, op: &Op, mut arrives: impl FnMut(usize) -> bool) {
    match op {
        Op::Truncate(_, length) if arrives(0) => bytes.resize(*length, 0),
        Op::Write(_, offset, data) => {
            let mut from = *offset;
            let end = offset + data.len();
            while from < end {
                let to = end.min((from / SECTOR + 1) * SECTOR);
                if arrives(from / SECTOR) {
                    bytes.resize(bytes.len().max(to), 0);
                    bytes[from..to].copy_from_slice(&data[from - offset..to - offset]);
                }
                from = to;
            }
        }
        _ => {}
    }
}
