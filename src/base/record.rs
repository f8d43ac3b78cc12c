//! An inventory as text: JSON that a person can read in a diff, a distribution and a copy of CUDA a line.

use serde_json::Value;

use super::{BaseInventory, InventoryError};

impl BaseInventory {
    /// Writes it as JSON: a field a line, and in lists an entry a line.
    pub fn to_record(&self) -> String {
        // What is made of strings and numbers is always JSON.
        let fields = match serde_json::to_value(self) {
            Ok(Value::Object(fields)) => fields,
            _ => serde_json::Map::new(),
        };
        let lines: Vec<String> = fields
            .iter()
            .map(|(name, value)| format!("{}: {}", Value::from(name.as_str()), lines(value)))
            .collect();
        format!("{{\n{}\n}}\n", lines.join(",\n"))
    }

    /// Reads what [`to_record`](Self::to_record) wrote.
    pub fn from_record(text: &str) -> Result<Self, InventoryError> {
        serde_json::from_str(text).map_err(InventoryError::Recorded)
    }
}

fn lines(value: &Value) -> String {
    match value {
        Value::Array(entries) if entries.iter().any(Value::is_object) => {
            let entries: Vec<String> = entries.iter().map(Value::to_string).collect();
            format!("[\n{}\n]", entries.join(",\n"))
        }
        value => value.to_string(),
    }
}
