//! The damage to a file: every number that a reader believes becomes what no linker writes.

use proptest::prelude::*;
use proptest::sample::{Index, select};

use crate::damage;
use crate::elf_files::{Form, Places};

/// One change. Places are fractions, so that any change suits any file.
#[derive(Debug, Clone)]
pub enum Mutation {
    /// The file ends early.
    Cut(Index),
    /// Zeros follow.
    Extend(u16),
    Flip {
        at: Index,
        bit: u8,
    },
    Fill {
        at: Index,
        length: u16,
        byte: u8,
    },
    /// A number of four bytes, wherever.
    Anywhere {
        at: Index,
        value: Value,
    },
    /// A part of the file is also somewhere else.
    Copy {
        from: Index,
        to: Index,
        length: u16,
    },
    /// A field of the ELF header.
    Header {
        field: Index,
        value: Value,
    },
    /// A field of a program header.
    Segment {
        which: Index,
        field: Index,
        value: Value,
    },
    /// So many program headers, copies of one, at the end of the file.
    Segments {
        which: Index,
        count: u16,
    },
    /// An entry of the dynamic section: another tag, or else another value.
    Dynamic {
        which: Index,
        tag: Option<u64>,
        value: Value,
    },
    /// A dynamic section of so many entries of one kind, at the end of the file.
    Entries {
        tag: u64,
        count: u16,
        value: Value,
    },
    /// A number in a table that the dynamic section leads to.
    Number {
        table: Index,
        at: Index,
        width: usize,
        value: Value,
    },
    /// Every number of a table.
    Numbers {
        table: Index,
        width: usize,
        value: Value,
    },
    /// One long name, which every symbol has, or an end of it.
    LongName {
        distance: u8,
    },
    /// Version needs or definitions that lead into each other without end.
    Chained {
        needs: bool,
        next: u8,
        count: u16,
    },
}

/// A number that no linker writes, or writes elsewhere.
#[derive(Debug, Clone)]
pub enum Value {
    Exactly(u64),
    /// The size of the file, and so much.
    Size(i8),
    /// A place in the file.
    Place(Index),
}

impl Value {
    /// The number, for a file of so many bytes.
    fn of(&self, size: usize) -> u64 {
        match self {
            Self::Exactly(value) => *value,
            Self::Size(more) => (size as u64).wrapping_add_signed((*more).into()),
            Self::Place(index) => index.index(size.max(1)) as u64,
        }
    }
}

const EXTREMES: [u64; 14] = [
    0,
    1,
    2,
    3,
    0x7fff,
    0x8000,
    0xffff,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    1 << 40,
    u64::MAX >> 1,
    u64::MAX - 15,
    u64::MAX,
];
const TAGS: [u64; 16] = [
    0,
    1,
    4,
    5,
    6,
    10,
    11,
    14,
    15,
    29,
    0x6fff_fef5,
    0x6fff_fff0,
    0x6fff_fffc,
    0x6fff_fffd,
    0x6fff_fffe,
    0x6fff_ffff,
];

impl Arbitrary for Value {
    type Parameters = ();
    type Strategy = BoxedStrategy<Self>;

    fn arbitrary_with((): ()) -> Self::Strategy {
        prop_oneof![
            select(&EXTREMES[..]).prop_map(Self::Exactly),
            (0..512_u64).prop_map(Self::Exactly),
            any::<u64>().prop_map(Self::Exactly),
            (-64..64_i8).prop_map(Self::Size),
            any::<Index>().prop_map(Self::Place),
        ]
        .boxed()
    }
}

impl Arbitrary for Mutation {
    type Parameters = ();
    type Strategy = BoxedStrategy<Self>;

    fn arbitrary_with((): ()) -> Self::Strategy {
        let index = any::<Index>;
        let value = any::<Value>;
        let width = || select(&[2_usize, 4, 8][..]);
        prop_oneof![
            1 => index().prop_map(Self::Cut),
            1 => any::<u16>().prop_map(Self::Extend),
            3 => (index(), 0..8_u8).prop_map(|(at, bit)| Self::Flip { at, bit }),
            1 => (index(), any::<u16>(), select(&[0_u8, 1, 0xff][..]))
                .prop_map(|(at, length, byte)| Self::Fill { at, length, byte }),
            2 => (index(), value()).prop_map(|(at, value)| Self::Anywhere { at, value }),
            1 => (index(), index(), any::<u16>()).prop_map(|(from, to, length)| Self::Copy { from, to, length }),
            3 => (index(), value()).prop_map(|(field, value)| Self::Header { field, value }),
            4 => (index(), index(), value())
                .prop_map(|(which, field, value)| Self::Segment { which, field, value }),
            1 => (index(), any::<u16>()).prop_map(|(which, count)| Self::Segments { which, count }),
            5 => (index(), proptest::option::of(select(&TAGS[..])), value())
                .prop_map(|(which, tag, value)| Self::Dynamic { which, tag, value }),
            1 => (select(&TAGS[..]), any::<u16>(), value())
                .prop_map(|(tag, count, value)| Self::Entries { tag, count, value }),
            6 => (index(), index(), width(), value())
                .prop_map(|(table, at, width, value)| Self::Number { table, at, width, value }),
            1 => (index(), width(), value()).prop_map(|(table, width, value)| Self::Numbers { table, width, value }),
            1 => any::<u8>().prop_map(|distance| Self::LongName { distance }),
            2 => (any::<bool>(), any::<u8>(), any::<u16>())
                .prop_map(|(needs, next, count)| Self::Chained { needs, next, count }),
        ]
        .boxed()
    }
}

impl Mutation {
    /// Changes a file in which everything was where `places` says.
    pub fn apply(&self, bytes: &mut Vec<u8>, places: Option<&Places>) {
        if bytes.is_empty() {
            return;
        }
        match self {
            Self::Cut(at) => bytes.truncate(at.index(bytes.len())),
            Self::Extend(length) => bytes.resize(bytes.len() + usize::from(*length), 0),
            Self::Flip { at, bit } => damage::flip(bytes, at, *bit),
            Self::Fill { at, length, byte } => damage::fill(bytes, at, (*length).into(), *byte),
            Self::Anywhere { at, value } => {
                let at = 4 * at.index((bytes.len() / 4).max(1));
                let form = Form { wide: true, big_endian: false };
                let value = value.of(bytes.len());
                form.put(bytes, at, 4, value);
            }
            Self::Copy { from, to, length } => {
                let (from, to) = (from.index(bytes.len()), to.index(bytes.len()));
                let length = usize::from(*length).min(bytes.len() - from.max(to));
                bytes.copy_within(from..from + length, to);
            }
            _ => {
                if let Some(places) = places {
                    self.apply_within(bytes, places);
                }
            }
        }
    }

    /// Changes what only an ELF file has.
    fn apply_within(&self, bytes: &mut Vec<u8>, places: &Places) {
        let (form, size) = (places.form, bytes.len());
        let word = form.word();
        let segment = form.pick(32, 56);
        let segment_at = |which: &Index| places.segments.0 + segment * which.index(places.segments.1.max(1));
        match self {
            Self::Header { field, value } => {
                // Offset and width of e_ident's class and data, of e_phoff, e_shoff, and of the sizes and counts.
                let fields = [
                    (4, 1),
                    (5, 1),
                    (16, 2),
                    (18, 2),
                    (form.pick(28, 32), word),
                    (form.pick(32, 40), word),
                    (form.pick(42, 54), 2),
                    (form.pick(44, 56), 2),
                    (form.pick(46, 58), 2),
                    (form.pick(48, 60), 2),
                ];
                let (at, width) = *field.get(&fields);
                form.put(bytes, at, width, value.of(size));
            }
            Self::Segment { which, field, value } => {
                let fields = [
                    (0, 4),
                    (form.pick(4, 8), word),
                    (form.pick(8, 16), word),
                    (form.pick(16, 32), word),
                    (form.pick(28, 48), word),
                ];
                let (at, width) = *field.get(&fields);
                form.put(bytes, segment_at(which) + at, width, value.of(size));
            }
            Self::Segments { which, count } => {
                let at = segment_at(which);
                let Some(one) = bytes.get(at..at + segment).map(<[u8]>::to_vec) else { return };
                let mut all = bytes.get(places.segments.0..at).unwrap_or_default().to_vec();
                all.extend(one.repeat(usize::from(*count)));
                let (start, total) = (bytes.len() as u64, (all.len() / segment) as u64);
                bytes.extend(all);
                form.put(bytes, form.pick(28, 32), word, start);
                form.put(bytes, form.pick(44, 56), 2, total);
            }
            Self::Dynamic { which, tag, value } => {
                let at = places.dynamic.0 + 2 * word * which.index(places.dynamic.1.max(1));
                match tag {
                    Some(tag) => form.put(bytes, at, word, *tag),
                    None => form.put(bytes, at + word, word, value.of(size)),
                }
            }
            Self::Entries { tag, count, value } => {
                let (start, length) = (places.dynamic.0, places.dynamic.1 * 2 * word);
                let Some(before) = bytes.get(start..start + length).map(<[u8]>::to_vec) else { return };
                let (at, value) = (bytes.len(), value.of(size));
                bytes.extend(before);
                for _ in 0..*count {
                    let end = bytes.len();
                    bytes.resize(end + 2 * word, 0);
                    form.put(bytes, end, word, *tag);
                    form.put(bytes, end + word, word, value);
                }
                let length = bytes.len() - at;
                for index in 0..places.segments.1 {
                    let header = places.segments.0 + index * segment;
                    if form.get(bytes, header, 4) == 2 {
                        form.put(bytes, header + form.pick(4, 8), word, at as u64);
                        form.put(bytes, header + form.pick(16, 32), word, length as u64);
                    }
                }
            }
            Self::Number { table, at, width, value } if !places.tables.is_empty() => {
                let (start, end) = *table.get(&places.tables);
                let at = start + at.index(((end - start) / width).max(1)) * width;
                form.put(bytes, at, *width, value.of(size));
            }
            Self::Numbers { table, width, value } if !places.tables.is_empty() => {
                let (start, end) = *table.get(&places.tables);
                let value = value.of(size);
                (start..end).step_by(*width).for_each(|at| form.put(bytes, at, *width, value));
            }
            Self::LongName { distance } => {
                let (Some((first, last)), Some((strings, end))) = (places.symbols, places.strings) else {
                    return;
                };
                if let Some(names) = bytes.get_mut(strings..end.saturating_sub(1)) {
                    names.fill(b'a');
                }
                for (index, at) in (first..last).step_by(form.pick(16, 24)).enumerate() {
                    let name = (index * usize::from(*distance)) % (end - strings).max(1);
                    form.put(bytes, at, 4, name as u64);
                }
            }
            Self::Chained { needs, next, count } => {
                let start = if *needs { places.needs } else { places.definitions };
                let Some(start) = start else { return };
                let (counted, next_at) = if *needs { (2, 12) } else { (6, 16) };
                let step = usize::from(*next).max(1);
                for at in (start..bytes.len().min(start + (64 << 10))).step_by(step).take((*count).into()) {
                    form.put(bytes, at + counted, 2, 0xffff);
                    form.put(bytes, at + next_at, 4, step as u64);
                }
                let tag = if *needs { 0x6fff_ffff } else { 0x6fff_fffd };
                for index in 0..places.dynamic.1 {
                    let at = places.dynamic.0 + 2 * word * index;
                    if form.get(bytes, at, word) == tag {
                        form.put(bytes, at + word, word, u64::MAX);
                    }
                }
            }
            _ => {}
        }
    }
}
