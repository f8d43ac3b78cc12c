//! Writes the image of a plan into a store that has its wheels and its base, and prints the digest: `realize PLAN STORE`.
//!
//! PLAN is the JSON of `imgforge plan --json`. The recipe, its lock and the package indexes have no say: this process does
//! not know them.
#![allow(clippy::disallowed_methods, reason = "a program of the tests")]

use imgforge::failure::{Failure, Result};
use imgforge::net::registry::RegistrySettings;
use imgforge::pipeline::{self, Meter, Network, Progress, Session, Task};
use imgforge::plan::Plan;
use imgforge::store::Store;

#[derive(serde::Deserialize)]
struct Printed {
    plan: Plan,
}

struct Quiet;

impl Progress for Quiet {
    fn stage(&self, _text: &str) {}

    fn at(&self, _text: &str) {}

    fn expect(&self, _tasks: usize, _bytes: u64) {}

    fn warn(&self, text: &str) {
        eprintln!("{text}");
    }

    fn start(&self, _task: Task, _name: &str, _size: Option<u64>) -> Box<dyn Meter> {
        Box::new(Self)
    }
}

impl Meter for Quiet {
    fn add(&self, _bytes: u64) {}
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [plan, store] = &arguments[..] else { return Err(Failure::new("usage: realize PLAN STORE")) };
    let Printed { plan } = serde_json::from_slice(&std::fs::read(plan)?)?;
    let session = Session::new(Store::open(store)?, Network::Offline, RegistrySettings::default(), &Quiet)?;
    let image = pipeline::realize(&plan, &session)?;
    println!("{}", image.manifest.digest());
    Ok(())
}
