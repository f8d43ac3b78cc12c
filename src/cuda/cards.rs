//! NVIDIA's GPUs by name, and their compute capabilities.
//!
//! Facts of the past, from NVIDIA's own table of GPUs and their compute capabilities, and that of older ones:
//! * <https://developer.nvidia.com/cuda/gpus>
//! * <https://developer.nvidia.com/cuda/gpus/legacy>

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::capability::Capability;

/// The names of a capability's GPUs, as people write them: without `NVIDIA`, `Tesla`, `Quadro` and `GeForce`.
const CARDS: &[(&str, &[&str])] = &[
    ("5.0", &["GTX 750", "GTX 750 Ti", "K620", "K2200"]),
    ("5.2", &["M40", "M60", "M6000", "GTX 950", "GTX 960", "GTX 970", "GTX 980", "GTX 980 Ti"]),
    ("5.3", &["Jetson Nano"]),
    ("6.0", &["P100", "GP100"]),
    (
        "6.1",
        &[
            "P4",
            "P40",
            "P6000",
            "P5000",
            "P4000",
            "TITAN X",
            "TITAN Xp",
            "GTX 1050",
            "GTX 1050 Ti",
            "GTX 1060",
            "GTX 1070",
            "GTX 1070 Ti",
            "GTX 1080",
            "GTX 1080 Ti",
        ],
    ),
    ("6.2", &["Jetson TX2"]),
    ("7.0", &["V100", "GV100", "TITAN V"]),
    ("7.2", &["Jetson AGX Xavier", "Jetson Xavier NX"]),
    (
        "7.5",
        &[
            "T4",
            "T4G",
            "T400",
            "T500",
            "T600",
            "T1000",
            "T1200",
            "T2000",
            "RTX 3000",
            "RTX 4000",
            "RTX 5000",
            "RTX 6000",
            "RTX 8000",
            "TITAN RTX",
            "GTX 1650",
            "GTX 1650 Ti",
            "GTX 1660",
            "GTX 1660 Ti",
            "RTX 2060",
            "RTX 2070",
            "RTX 2080",
            "RTX 2080 Ti",
        ],
    ),
    ("8.0", &["A100", "A30"]),
    (
        "8.6",
        &[
            "A2",
            "A10",
            "A10G",
            "A16",
            "A40",
            "RTX A2000",
            "RTX A3000",
            "RTX A4000",
            "RTX A5000",
            "RTX A6000",
            "RTX 3050",
            "RTX 3050 Ti",
            "RTX 3060",
            "RTX 3060 Ti",
            "RTX 3070",
            "RTX 3070 Ti",
            "RTX 3080",
            "RTX 3080 Ti",
            "RTX 3090",
            "RTX 3090 Ti",
        ],
    ),
    ("8.7", &["Jetson AGX Orin", "Jetson Orin NX", "Jetson Orin Nano"]),
    (
        "8.9",
        &[
            "L4",
            "L40",
            "L40S",
            "RTX 2000 Ada",
            "RTX 4000 Ada",
            "RTX 4000 SFF Ada",
            "RTX 4500 Ada",
            "RTX 5000 Ada",
            "RTX 6000 Ada",
            "RTX 4050",
            "RTX 4060",
            "RTX 4060 Ti",
            "RTX 4070",
            "RTX 4070 Ti",
            "RTX 4080",
            "RTX 4090",
        ],
    ),
    ("9.0", &["H100", "H200", "GH200"]),
    ("10.0", &["B200", "GB200"]),
    ("10.3", &["B300", "GB300"]),
    ("11.0", &["Jetson T5000", "Jetson T4000"]),
    (
        "12.0",
        &[
            "RTX PRO 2000 Blackwell",
            "RTX PRO 4000 Blackwell",
            "RTX PRO 4500 Blackwell",
            "RTX PRO 5000 Blackwell",
            "RTX PRO 6000 Blackwell",
            "RTX 5050",
            "RTX 5060",
            "RTX 5060 Ti",
            "RTX 5070",
            "RTX 5070 Ti",
            "RTX 5080",
            "RTX 5090",
        ],
    ),
    ("12.1", &["GB10", "DGX Spark"]),
];

/// Words before a name that do not tell GPUs apart.
const BRANDS: [&str; 4] = ["nvidia", "tesla", "quadro", "geforce"];

/// A GPU that an image shall run on: a card, or a compute capability.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Gpu {
    /// The name of the card, as the table has it; `None` where only a capability was said.
    pub name: Option<String>,
    /// Its compute capability.
    pub capability: Capability,
}

/// A text that is neither a card nor a capability.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is neither a card of NVIDIA's that is known nor a compute capability, such as 9.0")]
pub struct UnknownGpu;

impl Gpu {
    /// The names of all cards, the oldest first.
    pub fn names() -> impl Iterator<Item = &'static str> {
        CARDS.iter().flat_map(|(_, names)| names.iter().copied())
    }

    /// The names of the cards of a capability.
    pub fn names_of(capability: Capability) -> &'static [&'static str] {
        let row = CARDS.iter().find(|(text, _)| text.parse() == Ok(capability));
        row.map_or(&[], |(_, names)| names)
    }
}

impl FromStr for Gpu {
    type Err = UnknownGpu;

    fn from_str(text: &str) -> Result<Self, UnknownGpu> {
        if let Ok(capability) = text.parse() {
            return Ok(Self { name: None, capability });
        }
        let meant = plain(text);
        let rows =
            CARDS.iter().flat_map(|(capability, names)| names.iter().map(move |name| (capability, name)));
        let (capability, name) = rows.into_iter().find(|(_, name)| plain(name) == meant).ok_or(UnknownGpu)?;
        let capability = capability.parse().map_err(|_| UnknownGpu)?;
        Ok(Self { name: Some((*name).to_owned()), capability })
    }
}

/// `V100 (7.0)`, or `7.0`
impl fmt::Display for Gpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{name} ({})", self.capability),
            None => self.capability.fmt(f),
        }
    }
}

/// A name without its brand, its case, and what is between its words.
fn plain(name: &str) -> String {
    let words = name.split([' ', '-', '_']).map(str::to_lowercase);
    words.filter(|word| !BRANDS.contains(&word.as_str())).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn cards_are_known_by_the_names_that_people_write() {
        for (text, expected) in [
            ("T4", "T4 (7.5)"),
            ("Tesla T4", "T4 (7.5)"),
            ("tesla v100", "V100 (7.0)"),
            ("NVIDIA A100", "A100 (8.0)"),
            ("h100", "H100 (9.0)"),
            ("GeForce RTX 4090", "RTX 4090 (8.9)"),
            ("rtx-3060-ti", "RTX 3060 Ti (8.6)"),
            ("Quadro RTX 6000", "RTX 6000 (7.5)"),
            ("RTX 6000 Ada", "RTX 6000 Ada (8.9)"),
            ("B200", "B200 (10.0)"),
            ("9.0", "9.0"),
            ("12.1", "12.1"),
        ] {
            assert_eq!(text.parse::<Gpu>().map(|gpu| gpu.to_string()), Ok(expected.to_owned()), "{text}");
        }
        for text in ["", "nvidia", "T5", "RX 7900", "90"] {
            assert_eq!(text.parse::<Gpu>(), Err(UnknownGpu), "{text}");
        }
    }

    #[test]
    fn every_card_is_there_once_and_has_a_capability() {
        let names: Vec<String> = Gpu::names().map(plain).collect();
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
        let capabilities: Vec<Capability> = CARDS.iter().map(|(text, _)| text.parse().unwrap()).collect();
        assert!(capabilities.is_sorted());
    }
}
