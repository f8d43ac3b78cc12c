//! The documents that go with an image: attached artifacts, signatures, provenance.
//!
//! ```text
//! Bill, statement ─ Artifact::of ─► Artifact ─► a referrer of the image
//! statement ─ Attestation::of ─► Attestation ─► the tag `sha256-….att` beside it
//! statements ─ beside ─► IndexCompanion ─► a manifest beside the image in its index
//! digest ─ signature::sign ─► ImageSignature ─► the tag `sha256-….sig` beside it
//! ```
//!
//! A decision: equal inputs give equal documents, signatures included. Keys come as texts, and leave in no form.

mod artifact;
pub mod attestation;
mod beside;
pub mod key;
pub mod provenance;
pub mod signature;
mod tags;
pub mod verification;

pub use artifact::{Artifact, referrers_with};
pub use beside::beside;
pub use tags::{attestation_tag, is_of_attachment, referrers_tag, signature_tag};
