//! The code for GPUs in one file: what it was compiled for, and how often.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::capability::{Capability, CodeForm, GpuTarget};

/// The code for GPUs in a file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GpuCode {
    /// Sorted, each kind once.
    images: Vec<GpuImages>,
}

/// Images of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct GpuImages {
    /// All that they have in common.
    pub kind: ImageKind,
    /// Their number.
    pub count: u32,
}

/// The kind of an image: machine code or PTX, as a fat binary lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ImageKind {
    /// Its place in the file.
    pub place: CodePlace,
    /// Machine code or PTX.
    pub form: CodeForm,
    /// The GPUs that run it.
    pub target: GpuTarget,
    /// The version of the language, of PTX.
    pub ptx: Option<PtxVersion>,
}

/// The place of code in a file, which says who gives it to the driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CodePlace {
    /// CUDA's runtime, when the library is loaded: `.nv_fatbin`, or a file of its own.
    Linked,
    /// The library itself, out of its data: what cuDNN, cuFFT and XLA carry so.
    Data,
    /// Nobody: it was linked into other code, or waits for a linker.
    Relocatable,
}

/// A version of the PTX language: `8.4`.
///
/// <https://docs.nvidia.com/cuda/parallel-thread-execution/#release-notes-ptx-release-history>
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PtxVersion {
    /// 8 of 8.4.
    pub major: u16,
    /// 4 of 8.4.
    pub minor: u16,
}

/// The least part of the most frequent kind's number that runs on a GPU which a library is for: of PyTorch's kernels, one
/// in five hundred is compiled for 8.9; cuBLASLt has a tenth as many for 7.5 as for 12.0.
const LEAST_PART: u64 = 20;

impl GpuCode {
    /// The code of so many images of each kind; `None` where there are none.
    pub fn of(counts: BTreeMap<ImageKind, u32>) -> Option<Self> {
        let images: Vec<_> = counts.into_iter().map(|(kind, count)| GpuImages { kind, count }).collect();
        (!images.is_empty()).then_some(Self { images })
    }

    /// The code of several files together.
    pub fn together<'a>(all: impl IntoIterator<Item = &'a Self>) -> Option<Self> {
        let mut counts: BTreeMap<ImageKind, u32> = BTreeMap::new();
        for GpuImages { kind, count } in all.into_iter().flat_map(|code| &code.images) {
            let sum = counts.entry(*kind).or_default();
            *sum = sum.saturating_add(*count);
        }
        Self::of(counts)
    }

    /// Every kind of image.
    pub fn images(&self) -> &[GpuImages] {
        &self.images
    }

    /// Returns whether a driver gets any of it.
    pub fn is_loaded(&self) -> bool {
        self.loaded().next().is_some()
    }

    /// The targets of its machine code, sorted.
    pub fn compiled_for(&self) -> Vec<GpuTarget> {
        let mut targets: Vec<_> = self.of_form(CodeForm::Sass).map(|images| images.kind.target).collect();
        targets.sort_unstable();
        targets.dedup();
        targets
    }

    /// Returns whether GPUs newer than all that it was compiled for run it: as PTX, of which there is as much as of any
    /// machine code, or half.
    pub fn has_ptx_for_newer(&self) -> bool {
        self.newest_ptx().is_some()
    }

    /// The PTX that newer GPUs than all it was compiled for run.
    pub fn newest_ptx(&self) -> Option<PtxVersion> {
        let newest = Capability { major: u16::MAX, minor: 0 };
        let of_newer = || self.running_on(newest).filter(|images| images.kind.form == CodeForm::Ptx);
        let count: u64 = of_newer().map(|images| u64::from(images.count)).sum();
        let is_most = count > 0 && 2 * count >= self.most();
        of_newer().filter_map(|images| images.kind.ptx).max().filter(|_| is_most)
    }

    /// Returns whether it runs on a GPU of this capability: not a few images, but a good part of them.
    pub fn runs_on(&self, gpu: Capability) -> bool {
        let running: u64 = self.running_on(gpu).map(|images| u64::from(images.count)).sum();
        running > 0 && LEAST_PART * running >= self.most()
    }

    /// The newest PTX that a driver must compile for a GPU of this capability; `None` where there is machine code for it.
    pub fn compiled_on(&self, gpu: Capability) -> Option<PtxVersion> {
        let is_sass = |images: &GpuImages| images.kind.form == CodeForm::Sass;
        match self.running_on(gpu).any(is_sass) {
            true => None,
            false => self.running_on(gpu).filter_map(|images| images.kind.ptx).max(),
        }
    }

    /// The number of images of the most frequent target.
    fn most(&self) -> u64 {
        let mut counts: BTreeMap<(CodeForm, GpuTarget), u64> = BTreeMap::new();
        for images in self.loaded() {
            *counts.entry((images.kind.form, images.kind.target)).or_default() += u64::from(images.count);
        }
        counts.into_values().max().unwrap_or_default()
    }

    fn running_on(&self, gpu: Capability) -> impl Iterator<Item = &GpuImages> {
        self.loaded().filter(move |images| images.kind.target.runs_on(images.kind.form, gpu))
    }

    fn of_form(&self, form: CodeForm) -> impl Iterator<Item = &GpuImages> {
        self.loaded().filter(move |images| images.kind.form == form)
    }

    fn loaded(&self) -> impl Iterator<Item = &GpuImages> {
        self.images.iter().filter(|images| images.kind.place != CodePlace::Relocatable)
    }
}

impl PtxVersion {
    /// The first toolkit that wrote it, and whose driver reads it: `(12, 4)`.
    pub fn toolkit(self) -> (u32, u32) {
        let minor = u32::from(self.minor);
        match (self.major, self.minor) {
            (0..=6, _) => (10, 0),
            (7, _) => (11, minor),
            (8, 0..=5) => (12, minor),
            (8, _) => (12, minor + 1),
            (major, _) => (u32::from(major) + 4, minor),
        }
    }
}

impl fmt::Display for PtxVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl Serialize for PtxVersion {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PtxVersion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let number = |text: &str| text.parse().map_err(de::Error::custom);
        let (major, minor) = text.split_once('.').ok_or_else(|| de::Error::custom("it has no minor"))?;
        Ok(Self { major: number(major)?, minor: number(minor)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Code as `7.5:10 9.0a:2 ptx12.0:10`: form, target and number; what is behind `data` or `relocatable` is there.
    fn code(text: &str) -> GpuCode {
        let mut place = CodePlace::Linked;
        let mut counts = BTreeMap::new();
        for word in text.split(' ') {
            match word {
                "data" => place = CodePlace::Data,
                "relocatable" => place = CodePlace::Relocatable,
                _ => {
                    let (target, count) = word.split_once(':').unwrap();
                    let (form, target) = match target.strip_prefix("ptx") {
                        Some(target) => (CodeForm::Ptx, target),
                        None => (CodeForm::Sass, target),
                    };
                    let ptx = (form == CodeForm::Ptx).then_some(PtxVersion { major: 8, minor: 4 });
                    let kind = ImageKind { place, form, target: target.parse().unwrap(), ptx };
                    counts.insert(kind, count.parse().unwrap());
                }
            }
        }
        GpuCode::of(counts).unwrap()
    }

    /// The images of real libraries, or a part of them.
    #[test]
    fn code_runs_where_a_good_part_of_it_runs() {
        for (library, images, runs, fails) in [
            ("libtorch_cuda 2.6", "5.0:341 7.0:341 8.0:341 9.0:341 9.0a:2", "5.2 7.5 8.9 9.0", "10.0 12.0"),
            (
                "libtorch_cuda 2.15",
                "7.5:476 8.0:476 9.0:476 10.0:476 10.0a:59 12.0:476",
                "8.9 10.3 12.1",
                "7.0",
            ),
            ("one of five hundred", "8.0:476 9.0:1", "8.6", "7.5 9.0"),
            (
                "libonnxruntime_providers_cuda",
                "7.5:217 8.0:308 9.0a:600 12.0a:317",
                "7.5 8.9 9.0 12.0",
                "10.0",
            ),
            (
                "libtensorflow_cc",
                "6.0:279 9.0:279 ptx9.0:278 data 6.0:1149 ptx9.0:1149",
                "6.1 9.0 12.0",
                "5.0",
            ),
            ("libcufft", "5.2:1 data 5.0:11932 8.0:357 ptx7.0:4229", "5.3 7.5 8.6 9.0", "6.0"),
            ("relocatable code is nobody's", "7.5:1 relocatable 7.5:6 ptx9.0:6", "7.5", "9.0 10.0"),
        ] {
            let code = code(images);
            for (gpus, expected) in [(runs, true), (fails, false)] {
                for gpu in gpus.split(' ') {
                    assert_eq!(code.runs_on(gpu.parse().unwrap()), expected, "{library} on {gpu}");
                }
            }
        }
    }

    #[test]
    fn ptx_is_for_newer_gpus_where_there_is_enough_of_it() {
        for (images, expected) in [
            ("5.0:52 12.0:52 ptx12.0:52", true),
            ("5.0:5 9.0:5 ptx5.0:5", true),
            ("7.5:476 9.0:476 ptx9.0:3", false),
            ("9.0:2 ptx9.0a:2", false),
            ("7.5:1 12.0:1 relocatable 7.5:6 ptx12.0:6", false),
            ("12.0:9", false),
        ] {
            assert_eq!(code(images).has_ptx_for_newer(), expected, "{images}");
        }
        let code = code("7.0:3 ptx8.0:3");
        assert_eq!(code.compiled_on("7.5".parse().unwrap()), None);
        assert_eq!(code.compiled_on("9.0".parse().unwrap()).unwrap().to_string(), "8.4");
    }

    #[test]
    fn a_version_of_ptx_is_that_of_a_toolkit() {
        for ((major, minor), toolkit) in [
            ((6, 5), (10, 0)),
            ((7, 8), (11, 8)),
            ((8, 0), (12, 0)),
            ((8, 5), (12, 5)),
            ((8, 6), (12, 7)),
            ((8, 8), (12, 9)),
            ((9, 0), (13, 0)),
            ((9, 2), (13, 2)),
        ] {
            assert_eq!(PtxVersion { major, minor }.toolkit(), toolkit);
        }
    }

    #[test]
    fn the_code_of_files_is_counted_together() {
        let [one, other] = [code("7.5:1 9.0:2"), code("9.0:3 ptx9.0:1")];
        assert_eq!(GpuCode::together([&one, &other]), Some(code("7.5:1 9.0:5 ptx9.0:1")));
        assert_eq!(GpuCode::together([]), None);
        let targets: Vec<String> = one.compiled_for().iter().map(ToString::to_string).collect();
        assert_eq!(targets, ["7.5", "9.0"]);
        let json = serde_json::to_string(&other).unwrap();
        assert_eq!(serde_json::from_str::<GpuCode>(&json).unwrap(), other);
    }
}
