//! Libraries with everything a reader looks at, of every class and byte order; and where things are in any library.

/// The encoding of a file's numbers.
#[derive(Debug, Clone, Copy)]
pub struct Form {
    /// 64 bits.
    pub wide: bool,
    pub big_endian: bool,
}

impl Form {
    pub fn word(self) -> usize {
        if self.wide { 8 } else { 4 }
    }

    pub fn pick<T>(self, narrow: T, wide: T) -> T {
        if self.wide { wide } else { narrow }
    }

    pub fn get(self, bytes: &[u8], at: usize, width: usize) -> u64 {
        let bytes = at.checked_add(width).and_then(|end| bytes.get(at..end)).unwrap_or_default();
        let append = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
        if self.big_endian { bytes.iter().fold(0, append) } else { bytes.iter().rev().fold(0, append) }
    }

    /// Writes a number over what is there; nothing beyond the end.
    pub fn put(self, bytes: &mut [u8], at: usize, width: usize, value: u64) {
        let Some(place) = at.checked_add(width).and_then(|end| bytes.get_mut(at..end)) else { return };
        let number = value.to_le_bytes();
        place.copy_from_slice(&number[..width]);
        if self.big_endian {
            place.reverse();
        }
    }
}

/// The hash that table counts the symbols.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Hash {
    Sysv,
    Gnu,
}

const NAMES: [&str; 9] = [
    "libdemo.so.1",
    "libc.so.6",
    "libcudart.so.12",
    "$ORIGIN/../lib:/opt/lib",
    "GLIBC_2.34",
    "DEMO_1",
    "offered",
    "asked",
    "/lib64/ld-linux-x86-64.so.2",
];

/// A library whose tables lie `gap` bytes apart.
pub fn library(form: Form, hash: Hash, gap: usize) -> Vec<u8> {
    let mut out = Out { form, bytes: Vec::new(), gap };
    let header = form.pick(52, 64);
    let segments = 6;
    out.bytes.resize(header + segments * form.pick(32, 56), 0);

    let (mut strings, mut offsets) = (vec![0], Vec::new());
    for name in NAMES {
        offsets.push(strings.len() as u64);
        strings.extend(name.as_bytes());
        strings.push(0);
    }
    let [soname, libc, cudart, runpath, glibc, own, offered, asked, _] =
        <[u64; 9]>::try_from(offsets).expect("as many as names");
    let loader = out.table(&[NAMES[8].as_bytes(), b"\0"].concat());
    // `GNU`
    let owner = form.get(b"GNU\0", 0, 4);
    let note = out.numbers(4, &[4, 16, 1, owner, 0, 3, 2, 0]);
    let property = [0xc000_8002, 4, 2, 0];
    let properties = out.numbers(4, &[&[4, 16, 5, owner][..], &property].concat());
    let names = out.table(&strings);
    let symbols = out.table(&[]);
    for (name, section) in [(0, 0), (asked, 0), (offered, 1)] {
        out.symbol(name, section);
    }
    let hash_table = match hash {
        Hash::Sysv => out.numbers(4, &[1, 3, 2, 0, 0, 0]),
        // One bucket, from symbol 2, one word of a bloom filter; the bucket, and the chain of one.
        Hash::Gnu => {
            let table = out.numbers(4, &[1, 2, 1, 6]);
            out.append(form.word(), &[u64::MAX]);
            out.append(4, &[2, 1]);
            table
        }
    };
    let versions = out.numbers(2, &[0, 2, 3]);
    let definitions = out.definitions(&[(1, soname, 1), (0, own, 3)]);
    let needs = out.need(libc, glibc);
    let dynamic = out.numbers(
        form.word(),
        &[
            [14, soname],
            [1, libc],
            [1, cudart],
            [29, runpath],
            [15, runpath],
            [5, names],
            [10, strings.len() as u64],
            [6, symbols],
            [11, form.pick(16, 24)],
            [if hash == Hash::Sysv { 4 } else { 0x6fff_fef5 }, hash_table],
            [0x6fff_fff0, versions],
            [0x6fff_fffc, definitions],
            [0x6fff_fffd, 2],
            [0x6fff_fffe, needs],
            [0x6fff_ffff, 1],
            [0x6fff_fffb, 0x800],
            [0, 0],
        ]
        .concat(),
    );
    let end = out.bytes.len() as u64;
    let sections = out.sections(&[
        (0, 0, 0, 0),
        (3, names, strings.len() as u64, 0),
        (11, symbols, 3 * form.pick(16, 24), 1),
        (0x6fff_ffff, versions, 6, 0),
        (0x6fff_fffd, definitions, 56, 1),
        (0x6fff_fffe, needs, 32, 1),
    ]);
    let size = out.bytes.len() as u64;
    out.header(header as u64, segments as u64, sections, 6);
    let spans = [
        (1, 0, size, 4096),
        (2, dynamic, end - dynamic, 8),
        (3, loader, NAMES[8].len() as u64 + 1, 1),
        (4, note, 32, 4),
        (0x6474_e553, properties, 32, form.word() as u64),
        (1, 0, size, 4096),
    ];
    for (index, (kind, offset, length, alignment)) in spans.into_iter().enumerate() {
        let at = header + index * form.pick(32, 56);
        form.put(&mut out.bytes, at, 4, kind);
        let word = form.word();
        let fields =
            [form.pick(4, 8), form.pick(8, 16), form.pick(12, 24), form.pick(16, 32), form.pick(20, 40)];
        for (field, value) in fields.into_iter().zip([offset, offset, offset, length, length]) {
            form.put(&mut out.bytes, at + field, word, value);
        }
        form.put(&mut out.bytes, at + form.pick(28, 48), word, alignment);
    }
    out.bytes
}

/// A file of sections alone that needs versions of so many files, whose names are ends of one of so many bytes.
pub fn needing(count: u64, length: usize) -> Vec<u8> {
    let form = Form { wide: true, big_endian: false };
    let mut out = Out { form, bytes: vec![0; 64], gap: 0 };
    let names = out.table(&[&vec![b'a'; length][..], b"\0"].concat());
    let needs = out.table(&[]);
    for index in 0..count {
        out.append(2, &[1, 1]);
        out.append(4, &[index, 16, if index + 1 == count { 0 } else { 32 }, 0]);
        out.append(2, &[0, 2]);
        out.append(4, &[index, 0]);
    }
    let strings = (3, names, length as u64 + 1, 0);
    let sections =
        out.sections(&[(0, 0, 0, 0), strings, (11, names, 0, 1), (0x6fff_fffe, needs, 32 * count, 1)]);
    out.header(64, 0, sections, 4);
    out.bytes
}

struct Out {
    form: Form,
    bytes: Vec<u8>,
    gap: usize,
}

impl Out {
    /// Begins a table; gives its offset.
    fn table(&mut self, content: &[u8]) -> u64 {
        self.bytes.resize((self.bytes.len() + self.gap).next_multiple_of(8), 0);
        self.bytes.extend(content);
        (self.bytes.len() - content.len()) as u64
    }

    fn numbers(&mut self, width: usize, numbers: &[u64]) -> u64 {
        let start = self.table(&[]);
        self.append(width, numbers);
        start
    }

    fn append(&mut self, width: usize, numbers: &[u64]) {
        for number in numbers {
            let at = self.bytes.len();
            self.bytes.resize(at + width, 0);
            self.form.put(&mut self.bytes, at, width, *number);
        }
    }

    /// A global function of this name, undefined in section 0.
    fn symbol(&mut self, name: u64, section: u64) {
        let start = self.bytes.len();
        self.bytes.resize(start + self.form.pick(16, 24), 0);
        self.form.put(&mut self.bytes, start, 4, name);
        self.form.put(&mut self.bytes, start + self.form.pick(12, 4), 1, if name == 0 { 0 } else { 0x12 });
        self.form.put(&mut self.bytes, start + self.form.pick(14, 6), 2, section);
    }

    /// Version definitions: flags, name and number of each.
    fn definitions(&mut self, definitions: &[(u64, u64, u64)]) -> u64 {
        let start = self.table(&[]);
        for (index, (flags, name, number)) in definitions.iter().enumerate() {
            let next = if index + 1 == definitions.len() { 0 } else { 28 };
            self.append(2, &[1, *flags, *number, 1]);
            self.append(4, &[0, 20, next, *name, 0]);
        }
        start
    }

    /// One version, the second, of one file.
    fn need(&mut self, file: u64, version: u64) -> u64 {
        let start = self.table(&[]);
        self.append(2, &[1, 1]);
        self.append(4, &[file, 16, 0, 0]);
        self.append(2, &[0, 2]);
        self.append(4, &[version, 0]);
        start
    }

    /// Section headers: kind, offset, size and link of each.
    fn sections(&mut self, sections: &[(u64, u64, u64, u64)]) -> u64 {
        let start = self.table(&[]);
        for (kind, offset, size, link) in sections {
            let word = self.form.word();
            self.append(4, &[0, *kind]);
            self.append(word, &[0, 0, *offset, *size]);
            self.append(4, &[*link, 0]);
            self.append(word, &[0, 0]);
        }
        start
    }

    fn header(&mut self, length: u64, segments: u64, sections: u64, section_count: u64) {
        let form = self.form;
        let identification =
            [0x7f, b'E', b'L', b'F', form.pick(1, 2), if form.big_endian { 2 } else { 1 }, 1];
        self.bytes[..7].copy_from_slice(&identification);
        form.put(&mut self.bytes, 16, 2, 3);
        form.put(&mut self.bytes, 18, 2, 62);
        form.put(&mut self.bytes, form.pick(28, 32), form.word(), length);
        form.put(&mut self.bytes, form.pick(32, 40), form.word(), sections);
        for (index, value) in
            [length, form.pick(32, 56), segments, form.pick(40, 64), section_count, 0].into_iter().enumerate()
        {
            form.put(&mut self.bytes, form.pick(40, 52) + 2 * index, 2, value);
        }
    }
}

/// The places in a whole file.
#[derive(Debug)]
pub struct Places {
    pub form: Form,
    /// The start of the program headers, and their number.
    pub segments: (usize, usize),
    /// The start of the dynamic section, and the number of its entries.
    pub dynamic: (usize, usize),
    /// The ranges of the tables that the dynamic section leads to.
    pub tables: Vec<(usize, usize)>,
    /// The symbols, and the names.
    pub symbols: Option<(usize, usize)>,
    pub strings: Option<(usize, usize)>,
    /// The version definitions, and the version needs.
    pub definitions: Option<usize>,
    pub needs: Option<usize>,
}

impl Places {
    /// `None` for what is no ELF file.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        if !bytes.starts_with(b"\x7fELF") {
            return None;
        }
        let form = Form { wide: bytes[4] == 2, big_endian: bytes[5] == 2 };
        let word = form.word();
        let start = form.get(bytes, form.pick(28, 32), word) as usize;
        let count = form.get(bytes, form.pick(44, 56), 2) as usize;
        let segments: Vec<[u64; 4]> = (0..count)
            .map(|index| start + index * form.pick(32, 56))
            .map(|at| {
                let word_at = |narrow, wide| form.get(bytes, at + form.pick(narrow, wide), word);
                [form.get(bytes, at, 4), word_at(4, 8), word_at(8, 16), word_at(16, 32)]
            })
            .collect();
        let offset = |address: u64| {
            let mut loads = segments.iter().filter(|[kind, ..]| *kind == 1);
            let found = loads.find(|[_, _, first, length]| (*first..*first + *length).contains(&address));
            found.map(|[_, offset, first, _]| (offset + address - first) as usize)
        };
        let [_, section, _, length] =
            segments.iter().find(|[kind, ..]| *kind == 2).copied().unwrap_or_default();
        let entries: Vec<(u64, u64)> = (0..length as usize / (2 * word))
            .map(|index| section as usize + index * 2 * word)
            .map(|at| (form.get(bytes, at, word), form.get(bytes, at + word, word)))
            .take_while(|(tag, _)| *tag != 0)
            .collect();
        let place = |tag: u64| offset(entries.iter().find(|(found, _)| *found == tag)?.1);
        let tags = [4, 5, 6, 0x6fff_fef5, 0x6fff_fff0, 0x6fff_fffc, 0x6fff_fffe];
        let mut starts: Vec<usize> = tags.iter().filter_map(|tag| place(*tag)).collect();
        starts.sort_unstable();
        let end = |start: usize| {
            let next = starts.iter().find(|next| **next > start).copied();
            next.unwrap_or(bytes.len()).min(start + (64 << 10)).min(bytes.len())
        };
        Some(Self {
            form,
            segments: (start, count),
            dynamic: (section as usize, entries.len()),
            symbols: place(6).map(|start| (start, end(start))),
            strings: place(5).map(|start| (start, end(start))),
            definitions: place(0x6fff_fffc),
            needs: place(0x6fff_fffe),
            tables: starts.iter().map(|start| (*start, end(*start))).collect(),
        })
    }
}
