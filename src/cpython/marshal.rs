//! Code objects as marshal writes them, as far as making them the same wherever they were written.
//!
//! marshal marks an object that others in the process refer to, in case it comes again: whether the mark is there depends
//! on what else the interpreter has loaded, or was built with. Marks that nothing refers to are taken away here.
//!
//! The format has no specification but CPython's `Python/marshal.c`.

/// The mark of an object to which a later one may refer.
const REFERRED: u8 = 0x80;
/// As deep as CPython itself reads.
const MAX_DEPTH: usize = 2000;

/// `data`, one marshalled object of CPython `version`, without the marks that nothing refers to; `None` for a form of
/// marshal that is not known here.
pub fn without_unused_references(data: &[u8], version: (u8, u8)) -> Option<Vec<u8>> {
    let mut walk =
        Walk { data, position: 0, fields: CodeFields::of(version)?, marks: Vec::new(), uses: Vec::new() };
    walk.object(0)?;
    if walk.position != data.len() {
        return None;
    }
    let mut is_used = vec![false; walk.marks.len()];
    for (_, mark) in &walk.uses {
        *is_used.get_mut(*mark)? = true;
    }
    let mut written = data.to_vec();
    let mut numbers = Vec::with_capacity(is_used.len());
    let mut number = 0u32;
    for (position, is_used) in walk.marks.iter().zip(&is_used) {
        numbers.push(number);
        match is_used {
            true => number += 1,
            false => written[*position] &= !REFERRED,
        }
    }
    for (position, mark) in &walk.uses {
        written[*position..position + 4].copy_from_slice(&numbers[*mark].to_le_bytes());
    }
    Some(written)
}

/// The fields of a code object, in their order.
#[derive(Debug, Clone, Copy)]
struct CodeFields {
    /// Numbers of four bytes.
    numbers: usize,
    /// Objects before the number of the first line, and after it.
    objects: (usize, usize),
}

impl CodeFields {
    fn of(version: (u8, u8)) -> Option<Self> {
        match version {
            (3, 8..=10) => Some(Self { numbers: 6, objects: (8, 1) }),
            (3, 11..=14) => Some(Self { numbers: 5, objects: (8, 2) }),
            _ => None,
        }
    }
}

struct Walk<'a> {
    data: &'a [u8],
    position: usize,
    fields: CodeFields,
    /// The positions of marked objects; they are numbered in this order.
    marks: Vec<usize>,
    /// The positions of numbers that refer to marked objects, and these.
    uses: Vec<(usize, usize)>,
}

impl Walk<'_> {
    /// Steps over an object; gives its kind.
    fn object(&mut self, depth: usize) -> Option<u8> {
        if depth > MAX_DEPTH {
            return None;
        }
        let start = self.position;
        let byte = self.take::<1>()?[0];
        let kind = byte & !REFERRED;
        if byte != kind {
            self.marks.push(start);
        }
        match kind {
            b'0' | b'N' | b'F' | b'T' | b'S' | b'.' => {}
            b'i' => self.skip(4)?,
            b'I' | b'g' => self.skip(8)?,
            b'y' => self.skip(16)?,
            b'l' => {
                let digits = i32::from_le_bytes(self.take()?).unsigned_abs() as usize;
                self.skip(2 * digits)?;
            }
            b'f' | b'z' | b'Z' => self.short_text()?,
            b'x' => {
                self.short_text()?;
                self.short_text()?;
            }
            b's' | b'u' | b't' | b'a' | b'A' => {
                let length = self.length()?;
                self.skip(length)?;
            }
            b')' => {
                let count = usize::from(self.take::<1>()?[0]);
                self.objects(count, depth)?;
            }
            b'(' | b'[' | b'<' | b'>' => {
                let count = self.length()?;
                self.objects(count, depth)?;
            }
            b':' => self.objects(3, depth)?,
            b'{' => while self.object(depth + 1)? != b'0' {},
            b'r' => {
                let at = self.position;
                let mark = self.length()?;
                self.uses.push((at, mark));
            }
            b'c' => {
                let CodeFields { numbers, objects: (before, after) } = self.fields;
                self.skip(4 * numbers)?;
                self.objects(before, depth)?;
                self.skip(4)?;
                self.objects(after, depth)?;
            }
            _ => return None,
        }
        Some(kind)
    }

    fn objects(&mut self, count: usize, depth: usize) -> Option<()> {
        (0..count).try_for_each(|_| self.object(depth + 1).map(drop))
    }

    fn short_text(&mut self) -> Option<()> {
        let length = usize::from(self.take::<1>()?[0]);
        self.skip(length)
    }

    fn length(&mut self) -> Option<usize> {
        usize::try_from(u32::from_le_bytes(self.take()?)).ok()
    }

    fn take<const COUNT: usize>(&mut self) -> Option<[u8; COUNT]> {
        let bytes = *self.data.get(self.position..)?.first_chunk()?;
        self.position += COUNT;
        Some(bytes)
    }

    fn skip(&mut self, count: usize) -> Option<()> {
        self.position = self.position.checked_add(count).filter(|position| *position <= self.data.len())?;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An object of marshal: `*` before a kind marks it; numbers are of four bytes.
    macro_rules! marshal {
        ($($part:expr),*) => { [$(&$part[..]),*].concat() };
    }

    const fn marked(kind: u8) -> [u8; 1] {
        [kind | REFERRED]
    }

    #[test]
    fn marks_that_nothing_refers_to_are_taken_away() {
        let check = |data: Vec<u8>, expected: Vec<u8>| {
            assert_eq!(without_unused_references(&data, (3, 11)), Some(expected));
        };
        check(marshal![marked(b'N')], marshal![b"N"]);
        check(
            marshal![marked(b')'), b"\x03", marked(b'Z'), b"\x01a", marked(b'Z'), b"\x01b", b"r\x02\0\0\0"],
            marshal![b")\x03Z\x01a", marked(b'Z'), b"\x01b", b"r\0\0\0\0"],
        );
        check(
            marshal![marked(b'('), b"\x02\0\0\0", b"r\0\0\0\0", marked(b'l'), b"\xff\xff\xff\xff\x05\0"],
            marshal![marked(b'('), b"\x02\0\0\0", b"r\0\0\0\0", b"l\xff\xff\xff\xff\x05\0"],
        );
        check(marshal![b"{N", marked(b'T'), b"0"], marshal![b"{NT0"]);
    }

    #[test]
    fn a_code_object_has_the_fields_of_its_version() {
        let code = |numbers: usize, before: usize, after: usize| {
            let objects = |count| b"N".repeat(count);
            [b"c", &*b"\x01".repeat(4 * numbers), &*objects(before), b"\x01\0\0\0", &*objects(after)].concat()
        };
        for (version, (numbers, before, after)) in [((3, 10), (6, 8, 1)), ((3, 13), (5, 8, 2))] {
            let data = code(numbers, before, after);
            assert_eq!(without_unused_references(&data, version).as_deref(), Some(&*data));
            assert_eq!(without_unused_references(&data[..data.len() - 1], version), None);
        }
        assert_eq!(without_unused_references(b"N", (3, 7)), None);
    }

    #[test]
    fn what_is_no_marshal_is_left_to_others() {
        for data in [&b""[..], b"?", b"NN", b"r\0\0\0\0", b"s\xff\xff\xff\x7f", b"(\xff\xff\xff\xff"] {
            assert_eq!(without_unused_references(data, (3, 11)), None, "{data:?}");
        }
        assert_eq!(without_unused_references(&b"[\x01\0\0\0".repeat(100_000), (3, 11)), None);
    }
}
