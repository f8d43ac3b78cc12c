//! Wheels for other systems than the image's, in one line.

use std::collections::BTreeSet;

use uv_distribution_filename::WheelFilename;

/// Wheels for other platforms: nobody who makes an image misses them one by one.
#[derive(Debug, Default)]
pub(super) struct OtherPlatforms {
    count: usize,
    systems: BTreeSet<&'static str>,
}

impl OtherPlatforms {
    /// Counts one more.
    pub(super) fn add(&mut self, wheel: &WheelFilename) {
        self.count += 1;
        self.systems.extend(wheel.platform_tags().iter().map(|tag| system(&tag.to_string())));
    }

    /// The line that tells of them; `None` where there are none.
    pub(super) fn line(&self) -> Option<String> {
        let systems: Vec<&str> = self.systems.iter().copied().collect();
        match (self.count, systems.as_slice()) {
            (0, _) => None,
            (1, systems) => Some(format!("  and 1 wheel for {}", systems.join(" and "))),
            (count, [one]) => Some(format!("  and {count} wheels for {one}")),
            (count, systems) => Some(format!("  and {count} wheels for {}", systems.join(", "))),
        }
    }
}

/// The system of a platform tag, as people call it.
fn system(tag: &str) -> &'static str {
    const SYSTEMS: [(&str, &str); 4] =
        [("macosx", "macOS"), ("win", "Windows"), ("musllinux", "Linux with musl"), ("ios", "iOS")];
    let known = SYSTEMS.iter().find(|(start, _)| tag.starts_with(start)).map(|(_, system)| *system);
    known.unwrap_or(match tag {
        _ if tag.ends_with("aarch64") => "Linux on arm64",
        _ if tag.ends_with("x86_64") => "Linux on x86-64",
        _ => "other machines",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wheels_for_other_systems_are_one_line() {
        let check = |wheels: &[&str], expected: Option<&str>| {
            let mut others = OtherPlatforms::default();
            let name = |tag: &&str| format!("a-1-py3-none-{tag}.whl").parse().unwrap();
            wheels.iter().for_each(|tag| others.add(&name(tag)));
            assert_eq!(others.line().as_deref(), expected);
        };
        check(&[], None);
        check(&["win_amd64"], Some("  and 1 wheel for Windows"));
        check(&["macosx_11_0_arm64", "macosx_10_9_x86_64"], Some("  and 2 wheels for macOS"));
        let all = ["win_amd64", "macosx_11_0_arm64", "manylinux2014_aarch64", "musllinux_1_2_x86_64"];
        check(&all, Some("  and 4 wheels for Linux on arm64, Linux with musl, Windows, macOS"));
    }
}
