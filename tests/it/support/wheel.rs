//! Small wheels.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

use super::zip::{self, Member};

/// A wheel to be.
#[derive(Debug, Clone)]
pub struct Wheel {
    pub name: String,
    pub version: String,
    tag: &'static str,
    metadata_name: Option<&'static str>,
    requires: Vec<String>,
    extras: Vec<&'static str>,
    entry_points: Option<&'static str>,
    licence: Option<&'static str>,
    members: Vec<(Member, Option<Vec<u8>>)>,
}

/// A wheel's file.
#[derive(Debug, Clone)]
pub struct Built {
    pub filename: String,
    pub bytes: Vec<u8>,
}

impl Wheel {
    /// A pure wheel with nothing in it.
    pub fn new(name: &str, version: &str) -> Self {
        Self {
            name: name.into(),
            version: version.into(),
            tag: "py3-none-any",
            metadata_name: None,
            requires: Vec::new(),
            extras: Vec::new(),
            entry_points: None,
            licence: None,
            members: Vec::new(),
        }
    }

    pub fn tag(self, tag: &'static str) -> Self {
        Self { tag, ..self }
    }

    pub fn requires(mut self, requirement: &str) -> Self {
        self.requires.push(requirement.into());
        self
    }

    pub fn extra(mut self, extra: &'static str) -> Self {
        self.extras.push(extra);
        self
    }

    pub fn entry_points(self, text: &'static str) -> Self {
        Self { entry_points: Some(text), ..self }
    }

    /// A wheel whose METADATA has this line about its licence.
    pub fn licence(self, line: &'static str) -> Self {
        Self { licence: Some(line), ..self }
    }

    /// A wheel whose METADATA tells another name than its file.
    pub fn metadata_name(self, name: &'static str) -> Self {
        Self { metadata_name: Some(name), ..self }
    }

    pub fn file(mut self, path: &str, content: impl AsRef<[u8]>) -> Self {
        let content = content.as_ref();
        self.members.push((Member::file(path, content), Some(content.to_vec())));
        self
    }

    pub fn executable(mut self, path: &str, content: &str) -> Self {
        let member = Member { mode: 0o100_755, ..Member::stored(path, content.as_bytes()) };
        self.members.push((member, Some(content.into())));
        self
    }

    /// A member that RECORD knows nothing of.
    pub fn member(mut self, member: Member) -> Self {
        self.members.push((member, None));
        self
    }

    /// A member of which RECORD says what it should be.
    pub fn listed(mut self, member: Member, content: &[u8]) -> Self {
        self.members.push((member, Some(content.to_vec())));
        self
    }

    fn stem(&self) -> String {
        format!("{}-{}", self.name.replace('-', "_"), self.version)
    }

    fn metadata(&self) -> String {
        let name = self.metadata_name.unwrap_or(&self.name);
        let mut text = format!("Metadata-Version: 2.1\nName: {name}\nVersion: {}\n", self.version);
        self.licence.iter().for_each(|line| writeln!(text, "{line}").unwrap());
        self.extras.iter().for_each(|extra| writeln!(text, "Provides-Extra: {extra}").unwrap());
        self.requires.iter().for_each(|requires| writeln!(text, "Requires-Dist: {requires}").unwrap());
        text
    }

    pub fn build(mut self) -> Built {
        let stem = self.stem();
        let wheel = format!(
            "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: {}\nTag: {}\n",
            self.tag.ends_with("any"),
            self.tag
        );
        self = self.clone().file(&format!("{stem}.dist-info/METADATA"), self.metadata());
        self = self.file(&format!("{stem}.dist-info/WHEEL"), wheel);
        if let Some(text) = self.entry_points {
            self = self.file(&format!("{stem}.dist-info/entry_points.txt"), text);
        }
        let record = format!("{stem}.dist-info/RECORD");
        let rows = self.members.iter().filter_map(|(member, content)| {
            let content = content.as_ref()?;
            Some(format!("{},sha256={},{}\n", member.name, base64(&Sha256::digest(content)), content.len()))
        });
        let rows = rows.collect::<String>() + &format!("{record},,\n");
        self = self.file(&record, rows);
        let members: Vec<Member> = self.members.into_iter().map(|(member, _)| member).collect();
        Built { filename: format!("{stem}-{}.whl", self.tag), bytes: zip::archive(&members) }
    }
}

/// Base 64 for URLs, without padding, as RECORD writes hashes.
pub fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let group = |chunk: &[u8]| {
        let bits = (0..3).fold(0_u32, |bits, at| bits << 8 | u32::from(*chunk.get(at).unwrap_or(&0)));
        let digits = [18, 12, 6, 0].map(|shift| char::from(ALPHABET[(bits >> shift & 63) as usize]));
        digits.into_iter().take(chunk.len() + 1).collect::<String>()
    };
    bytes.chunks(3).map(group).collect()
}
