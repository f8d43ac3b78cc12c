//! A zip writer that writes what it is told, true or not.
//!
//! <https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT>

use std::io::Write;

use flate2::Compression;
use flate2::write::DeflateEncoder;

/// A member, every word of its headers open to change.
#[derive(Debug, Clone)]
pub struct Member {
    pub name: String,
    /// As stored.
    pub data: Vec<u8>,
    pub deflated: bool,
    pub size: u32,
    /// The size of `data` in the directory; `None` for the truth.
    pub compressed_size: Option<u32>,
    pub crc32: u32,
    /// Unix file type and permissions.
    pub mode: u32,
    /// The size in the local header, instead of `size`.
    pub local_size: Option<u32>,
    /// Sizes and CRC-32 that follow the bytes instead of being in the local header.
    pub descriptor: Option<[u32; 3]>,
}

impl Member {
    /// A deflated file.
    pub fn file(name: &str, content: &[u8]) -> Self {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(content).unwrap();
        Self {
            name: name.to_owned(),
            data: encoder.finish().unwrap(),
            deflated: true,
            size: content.len() as u32,
            compressed_size: None,
            crc32: crc32fast::hash(content),
            mode: 0o100_644,
            local_size: None,
            descriptor: None,
        }
    }

    /// The same with a data descriptor that says the truth.
    pub fn described(self) -> Self {
        let descriptor = Some([self.crc32, self.data.len() as u32, self.size]);
        Self { descriptor, ..self }
    }

    /// A file as it is.
    pub fn stored(name: &str, content: &[u8]) -> Self {
        Self { data: content.to_vec(), deflated: false, ..Self::file(name, content) }
    }

    /// So many mebibytes of zeros, in a thousandth of the space.
    pub fn zeros(name: &str, mebibytes: u32) -> Self {
        static MEBIBYTE: [u8; 1 << 20] = [0; 1 << 20];
        let block = |flush: bool| {
            let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
            encoder.write_all(&MEBIBYTE).unwrap();
            match flush {
                true => encoder.flush().map(|()| encoder.get_ref().clone()).unwrap(),
                false => encoder.finish().unwrap(),
            }
        };
        let mut data = block(true).repeat(mebibytes as usize - 1);
        data.extend(block(false));
        let mut one = crc32fast::Hasher::new();
        one.update(&MEBIBYTE);
        let mut all = crc32fast::Hasher::new();
        (0..mebibytes).for_each(|_| all.combine(&one));
        let crc32 = all.finalize();
        Self { data, crc32, size: mebibytes << 20, ..Self::file(name, b"") }
    }

    fn header(&self) -> Vec<u8> {
        let mut header = Vec::new();
        header.extend(0x0403_4b50_u32.to_le_bytes());
        let size = self.local_size.unwrap_or(self.size);
        match self.descriptor {
            Some(_) => self.common([0; 3], &mut header),
            None => self.common([self.crc32, self.told_size(), size], &mut header),
        }
        header.extend(self.name.as_bytes());
        header
    }

    /// The fields that the local header and the directory share, from the version on.
    fn common(&self, crc32_and_sizes: [u32; 3], out: &mut Vec<u8>) {
        let method: u16 = if self.deflated { 8 } else { 0 };
        let flags: u16 = if self.descriptor.is_some() { 0x0808 } else { 0x0800 };
        out.extend(20_u16.to_le_bytes());
        out.extend(flags.to_le_bytes());
        out.extend(method.to_le_bytes());
        out.extend([0, 0, 0x21, 0]);
        crc32_and_sizes.iter().for_each(|number| out.extend(number.to_le_bytes()));
        out.extend((self.name.len() as u16).to_le_bytes());
        out.extend(0_u16.to_le_bytes());
    }

    fn told_size(&self) -> u32 {
        self.compressed_size.unwrap_or(self.data.len() as u32)
    }

    fn directory(&self, offset: u32) -> Vec<u8> {
        let mut record = Vec::new();
        record.extend(0x0201_4b50_u32.to_le_bytes());
        record.extend([20, 3]);
        self.common([self.crc32, self.told_size(), self.size], &mut record);
        record.extend([0; 6]);
        record.extend((self.mode << 16).to_le_bytes());
        record.extend(offset.to_le_bytes());
        record.extend(self.name.as_bytes());
        record
    }

    /// The number of bytes that it takes before the directory.
    pub fn stored_size(&self) -> u32 {
        (self.header().len() + self.data.len()) as u32
    }
}

/// The archive of `members`, in their order.
pub fn archive(members: &[Member]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut directory = Vec::new();
    for member in members {
        directory.extend(member.directory(bytes.len() as u32));
        bytes.extend(member.header());
        bytes.extend(&member.data);
        if let Some(descriptor) = member.descriptor {
            bytes.extend(0x0807_4b50_u32.to_le_bytes());
            descriptor.iter().for_each(|number| bytes.extend(number.to_le_bytes()));
        }
    }
    let start = bytes.len() as u32;
    bytes.extend(&directory);
    bytes.extend(0x0605_4b50_u32.to_le_bytes());
    bytes.extend([0; 4]);
    let count = (members.len() as u16).to_le_bytes();
    bytes.extend(count);
    bytes.extend(count);
    bytes.extend((directory.len() as u32).to_le_bytes());
    bytes.extend(start.to_le_bytes());
    bytes.extend([0; 2]);
    bytes
}
