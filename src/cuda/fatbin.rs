//! Fat binaries and cubins, as their headers describe them.
//!
//! ```text
//! fat binary   50 ED 55 BA · u16 version · u16 size of this header · u64 size of what follows
//!   image      u16 kind · u16 · u32 size of this header · u64 size of the payload · … · u16 minor, u16 major of PTX
//!              · u32 architecture · … · u64 flags · … · payload, compressed or not
//!   image …
//! cubin        an ELF file of machine 190, whose flags tell the architecture
//! ```
//!
//! NVIDIA describes neither; both are as `cuobjdump` reads them (`tests/acceptance/gpu_coverage`), and cubins' flags as
//! LLVM's `BinaryFormat/ELF.h` has them.

use super::capability::{Capability, CodeForm, GpuFeatures, GpuTarget};
use super::gpu_code::PtxVersion;

/// The first bytes of a fat binary.
pub(super) const MAGIC: [u8; 4] = [0x50, 0xed, 0x55, 0xba];
/// The first bytes of a cubin: an ELF file of 64 bits, little-endian.
pub(super) const CUBIN_MAGIC: [u8; 7] = *b"\x7fELF\x02\x01\x01";
/// The bytes of a fat binary's own header.
pub(super) const HEADER: usize = 16;
/// The least bytes of an image's header.
pub(super) const IMAGE_HEADER: usize = 64;
/// The most bytes of an image's header: those of CUDA 13 have up to 128, and a name.
const MOST_IMAGE_HEADER: u64 = 4096;
/// The bytes of a cubin's ELF header.
pub(super) const CUBIN_HEADER: usize = 64;

/// The header of an image in a fat binary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ImageHeader {
    /// The image; `None` for what no driver loads: what only a linker reads.
    pub image: Option<FatImage>,
    /// The distance to the next image in bytes.
    pub length: u64,
}

/// An image: its form, its target, and the version of PTX.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FatImage {
    pub form: CodeForm,
    pub target: GpuTarget,
    pub ptx: Option<PtxVersion>,
}

/// The number of bytes of images behind a fat binary's header, which are `available` at most; `None` for what is none.
pub(super) fn body(header: &[u8], available: u64) -> Option<u64> {
    let is_known =
        header.starts_with(&MAGIC) && u16_at(header, 4)? == 1 && u16_at(header, 6)? == HEADER as u16;
    u64_at(header, 8).filter(|size| is_known && *size >= IMAGE_HEADER as u64 && *size <= available)
}

/// The image whose header this is, in a fat binary of which `available` bytes are left; `None` for what is none.
pub(super) fn image(header: &[u8], available: u64) -> Option<ImageHeader> {
    const FAMILY: u64 = 0x20_0000;
    const ARCHITECTURE: u64 = 0x10_0000;
    let kind = u16_at(header, 0).filter(|kind| (1..=0xff).contains(kind))?;
    let own = u64::from(u32_at(header, 4)?);
    let length = own.checked_add(u64_at(header, 8)?)?;
    let is_sound = (IMAGE_HEADER as u64..=MOST_IMAGE_HEADER).contains(&own) && length <= available;
    let capability = Capability::of_architecture(u32_at(header, 28)?).filter(|_| is_sound)?;
    let flags = u64_at(header, 40)?;
    let features = match flags {
        _ if flags & ARCHITECTURE != 0 => GpuFeatures::Architecture,
        _ if flags & FAMILY != 0 => GpuFeatures::Family,
        _ => GpuFeatures::Baseline,
    };
    let target = GpuTarget { capability, features };
    let ptx = PtxVersion { minor: u16_at(header, 24)?, major: u16_at(header, 26)? };
    let image = match kind {
        1 => Some(FatImage { form: CodeForm::Ptx, target, ptx: Some(ptx) }),
        2 | 0x10 => Some(FatImage { form: CodeForm::Sass, target, ptx: None }),
        _ => None,
    };
    Some(ImageHeader { image, length })
}

/// The image that a cubin with this ELF header is; `None` for other files.
pub(super) fn cubin(header: &[u8]) -> Option<FatImage> {
    const CUDA: u16 = 190;
    let is_cubin = header.starts_with(&CUBIN_MAGIC)
        && u16_at(header, 18)? == CUDA
        && u16_at(header, 52)? as usize == CUBIN_HEADER;
    let (abi, flags) = (*header.get(8).filter(|_| is_cubin)?, u32_at(header, 48)?);
    // The eighth version of the ABI moved the architecture, and what says that nothing else runs it.
    let (architecture, is_specific) = match abi {
        0..8 => (flags & 0xff, flags & 0x800 != 0),
        _ => (flags >> 8 & 0xff, flags & 0x8 != 0),
    };
    let features = if is_specific { GpuFeatures::Architecture } else { GpuFeatures::Baseline };
    let target = GpuTarget { capability: Capability::of_architecture(architecture)?, features };
    Some(FatImage { form: CodeForm::Sass, target, ptx: None })
}

/// The image that a file of PTX with this beginning is: what its first directives say.
pub(super) fn ptx(beginning: &[u8]) -> Option<FatImage> {
    let text = String::from_utf8_lossy(beginning);
    let directive = |name: &str| {
        let mut lines = text.lines().map(str::trim);
        lines.find_map(|line| line.strip_prefix(name)?.split([',', ' ', '/']).find(|word| !word.is_empty()))
    };
    let (major, minor) = directive(".version")?.split_once('.')?;
    let ptx = PtxVersion { major: major.parse().ok()?, minor: minor.parse().ok()? };
    let target = directive(".target")?.strip_prefix("sm_")?;
    let number = target.trim_end_matches(['a', 'f']);
    let features = match &target[number.len()..] {
        "" => GpuFeatures::Baseline,
        "f" => GpuFeatures::Family,
        _ => GpuFeatures::Architecture,
    };
    let capability = Capability::of_architecture(number.parse().ok()?)?;
    Some(FatImage { form: CodeForm::Ptx, target: GpuTarget { capability, features }, ptx: Some(ptx) })
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(image: Option<FatImage>) -> Option<String> {
        let FatImage { form, target, ptx } = image?;
        let version = ptx.map(|ptx| format!(" {ptx}")).unwrap_or_default();
        Some(format!("{form:?} {target}{version}"))
    }

    fn elf(abi: u8, machine: u16, flags: u32) -> Vec<u8> {
        let mut header = CUBIN_MAGIC.to_vec();
        header.resize(CUBIN_HEADER, 0);
        header[8] = abi;
        header[18..20].copy_from_slice(&machine.to_le_bytes());
        header[48..52].copy_from_slice(&flags.to_le_bytes());
        header[52..54].copy_from_slice(&64_u16.to_le_bytes());
        header
    }

    #[test]
    fn the_flags_of_a_cubin_tell_its_target() {
        for (abi, machine, flags, expected) in [
            (7, 190, 0x5a_055a, Some("Sass 9.0")),
            (7, 190, 0x5a_0d5a, Some("Sass 9.0a")),
            (7, 190, 0x4b_054b, Some("Sass 7.5")),
            (8, 190, 0x0600_6402, Some("Sass 10.0")),
            (8, 190, 0x0600_780a, Some("Sass 12.0a")),
            (7, 62, 0x5a_055a, None),
            (7, 190, 0, None),
        ] {
            let image = told(cubin(&elf(abi, machine, flags)));
            assert_eq!(image.as_deref(), expected, "{abi} {flags:x}");
        }
        assert_eq!(cubin(&elf(7, 190, 0x5a_055a)[..40]), None);
    }

    #[test]
    fn a_file_of_ptx_says_what_it_is_for() {
        for (text, expected) in [
            (
                "//\n// made by NVVM\n\n.version 8.4\n.target sm_90a, debug\n.address_size 64\n",
                Some("Ptx 9.0a 8.4"),
            ),
            (".version 7.0\n.target sm_52\n", Some("Ptx 5.2 7.0")),
            (".version 8.8 .target sm_120f\n.target sm_120f // why\n", Some("Ptx 12.0f 8.8")),
            (".version 8.4\n.target texmode_unified\n", None),
            ("no PTX", None),
        ] {
            assert_eq!(told(ptx(text.as_bytes())).as_deref(), expected, "{text}");
        }
    }
}
