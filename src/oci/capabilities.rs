//! File capabilities, as the extended attribute `security.capability` holds them.
//!
//! <https://man7.org/linux/man-pages/man7/capabilities.7.html> · <https://man7.org/linux/man-pages/man3/cap_from_text.3.html>

/// The capabilities by their numbers.
const NAMES: [&str; 41] = [
    "cap_chown",
    "cap_dac_override",
    "cap_dac_read_search",
    "cap_fowner",
    "cap_fsetid",
    "cap_kill",
    "cap_setgid",
    "cap_setuid",
    "cap_setpcap",
    "cap_linux_immutable",
    "cap_net_bind_service",
    "cap_net_broadcast",
    "cap_net_admin",
    "cap_net_raw",
    "cap_ipc_lock",
    "cap_ipc_owner",
    "cap_sys_module",
    "cap_sys_rawio",
    "cap_sys_chroot",
    "cap_sys_ptrace",
    "cap_sys_pacct",
    "cap_sys_admin",
    "cap_sys_boot",
    "cap_sys_nice",
    "cap_sys_resource",
    "cap_sys_time",
    "cap_sys_tty_config",
    "cap_mknod",
    "cap_lease",
    "cap_audit_write",
    "cap_audit_control",
    "cap_setfcap",
    "cap_mac_override",
    "cap_mac_admin",
    "cap_syslog",
    "cap_wake_alarm",
    "cap_block_suspend",
    "cap_audit_read",
    "cap_perfmon",
    "cap_bpf",
    "cap_checkpoint_restore",
];

/// The capabilities that a program's file gives to its process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FileCapabilities {
    /// A bit for each capability that the process may have.
    permitted: u64,
    /// A bit for each that it has where its parent passes it on.
    inheritable: u64,
    /// True where it has them from the start.
    effective: bool,
}

impl FileCapabilities {
    /// Reads the form of `setcap`: `cap_net_raw,cap_net_admin+ep`, `cap_net_raw=ep`; `None` for any other.
    pub fn parse(text: &str) -> Option<Self> {
        let mut capabilities = Self::default();
        for clause in text.split_ascii_whitespace() {
            let (names, flags) = clause.split_once(['+', '='])?;
            for flag in flags.chars() {
                match flag {
                    'e' => capabilities.effective = true,
                    'p' => capabilities.permitted |= mask(names)?,
                    'i' => capabilities.inheritable |= mask(names)?,
                    _ => return None,
                }
            }
        }
        (capabilities.permitted | capabilities.inheritable != 0).then_some(capabilities)
    }

    /// The value of the attribute, revision 2: of any user namespace that may read it.
    pub fn to_attribute(self) -> [u8; 20] {
        const REVISION_2: u32 = 0x0200_0000;
        let halves = |set: u64| [set as u32, (set >> 32) as u32];
        let ([permitted, permitted_high], [inheritable, inheritable_high]) =
            (halves(self.permitted), halves(self.inheritable));
        let words = [
            REVISION_2 | u32::from(self.effective),
            permitted,
            inheritable,
            permitted_high,
            inheritable_high,
        ];
        let mut bytes = [0; 20];
        for (place, word) in bytes.chunks_exact_mut(4).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }
}

/// The bits of capabilities named with commas between them.
fn mask(names: &str) -> Option<u64> {
    names.split(',').try_fold(0, |mask, name| {
        let number = NAMES.iter().position(|known| known.eq_ignore_ascii_case(name))?;
        Some(mask | 1 << number)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_written_as_setcap_writes_them() {
        let hex =
            |text| FileCapabilities::parse(text).map(|capabilities| hex::encode(capabilities.to_attribute()));
        // As `getfattr -e hex -n security.capability` shows them.
        let raw = "0100000200200000000000000000000000000000";
        assert_eq!(hex("cap_net_raw+ep").as_deref(), Some(raw));
        assert_eq!(hex("cap_net_raw=ep").as_deref(), Some(raw));
        assert_eq!(hex("cap_net_raw,cap_bpf=p").as_deref(), Some("0000000200200000000000008000000000000000"));
        for text in ["", "-r", "cap_of_gold+ep", "cap_net_raw", "cap_net_raw+x"] {
            assert_eq!(hex(text), None, "{text}");
        }
    }
}
