//! Reads a JSON object field by field and collects every fault, so that one answer names all of them.
//!
//! An absent field and a `null` read alike. Unknown fields are passed over.

use std::ops::RangeInclusive;

use plenary_cluster::model::Timestamp;
use plenary_protocol::FieldError;
use serde_json::{Map, Value};

/// An object being read.
#[derive(Debug)]
pub(crate) struct Fields<'a> {
    prefix: String,
    object: &'a Map<String, Value>,
    errors: Vec<FieldError>,
}

impl<'a> Fields<'a> {
    /// Begins at the outermost object.
    pub(crate) const fn new(object: &'a Map<String, Value>) -> Self {
        Self { prefix: String::new(), object, errors: Vec::new() }
    }

    /// Ends: all faults that were found.
    pub(crate) fn finish(self) -> Vec<FieldError> {
        self.errors
    }

    /// Records a fault of a field.
    pub(crate) fn fault(&mut self, name: &str, code: &str, message: impl Into<String>) {
        let path = format!("{}{name}", self.prefix);
        self.errors.push(FieldError { path, code: code.to_owned(), message: message.into() });
    }

    /// Whether the field is there, be it `null`.
    pub(crate) fn present(&self, name: &str) -> bool {
        self.object.contains_key(name)
    }

    fn value(&self, name: &str) -> Option<&'a Value> {
        self.object.get(name).filter(|value| !value.is_null())
    }

    fn wrong_type(&mut self, name: &str, wanted: &str, got: &Value) {
        self.fault(name, "wrong_type", format!("`{name}` must be {wanted}, but is {}", kind(got)));
    }

    /// Records that a field is needed, if `value` is missing and nothing was said of it yet.
    pub(crate) fn require<T>(&mut self, name: &str, value: Option<T>) -> Option<T> {
        if value.is_none() && self.value(name).is_none() {
            self.fault(name, "required", format!("`{name}` is missing: send it"));
        }
        value
    }

    /// A text of so many characters, without control characters other than line breaks and tabs.
    pub(crate) fn text(&mut self, name: &str, length: RangeInclusive<usize>) -> Option<String> {
        let value = self.value(name)?;
        let Value::String(text) = value else {
            self.wrong_type(name, "a text", value);
            return None;
        };
        if let Some(fault) = text_fault(name, text, &length) {
            self.fault(name, "out_of_range", fault);
            return None;
        }
        Some(text.clone())
    }

    /// `true` or `false`.
    pub(crate) fn boolean(&mut self, name: &str) -> Option<bool> {
        let value = self.value(name)?;
        if value.as_bool().is_none() {
            self.wrong_type(name, "true or false", value);
        }
        value.as_bool()
    }

    /// A whole number in a range.
    pub(crate) fn integer(&mut self, name: &str, range: RangeInclusive<u64>) -> Option<u64> {
        let value = self.value(name)?;
        match value.as_u64() {
            Some(number) if range.contains(&number) => Some(number),
            _ if value.is_number() => {
                let (low, high) = (range.start(), range.end());
                self.fault(name, "out_of_range", format!("`{name}` must be a whole number from {low} to {high}"));
                None
            }
            _ => {
                self.wrong_type(name, "a whole number", value);
                None
            }
        }
    }

    /// One of the named values.
    pub(crate) fn choice<T: Copy>(&mut self, name: &str, choices: &[(&str, T)]) -> Option<T> {
        let value = self.value(name)?;
        let Value::String(text) = value else {
            self.wrong_type(name, "a text", value);
            return None;
        };
        let chosen = choices.iter().find(|(label, _)| label == text).map(|(_, choice)| *choice);
        if chosen.is_none() {
            let allowed = choices.iter().map(|(label, _)| format!("`{label}`")).collect::<Vec<_>>().join(", ");
            self.fault(name, "unknown_value", format!("`{name}` must be one of {allowed}"));
        }
        chosen
    }

    /// An RFC 3339 time.
    pub(crate) fn time(&mut self, name: &str) -> Option<Timestamp> {
        let value = self.value(name)?;
        let time = serde_json::from_value(value.clone()).ok();
        if time.is_none() {
            let message = format!("`{name}` must be an RFC 3339 time such as 2025-07-30T10:00:00Z");
            self.fault(name, "wrong_type", message);
        }
        time
    }

    /// A list of at most `most` items, each read by `read`; a fault names the item.
    pub(crate) fn list<T>(
        &mut self,
        name: &str,
        most: usize,
        read: impl Fn(&mut Self, &str, &'a Value) -> Option<T>,
    ) -> Option<Vec<T>> {
        let value = self.value(name)?;
        let Value::Array(items) = value else {
            self.wrong_type(name, "a list", value);
            return None;
        };
        if items.len() > most {
            self.fault(name, "out_of_range", format!("`{name}` may hold at most {most} items"));
            return None;
        }
        let before = self.errors.len();
        let read = items.iter().enumerate().filter_map(|(at, item)| read(self, &format!("{name}.{at}"), item));
        let read = read.collect();
        (self.errors.len() == before).then_some(read)
    }

    /// A list of texts.
    pub(crate) fn texts(&mut self, name: &str, most: usize, length: RangeInclusive<usize>) -> Option<Vec<String>> {
        self.list(name, most, |fields, path, item| {
            let Value::String(text) = item else {
                fields.wrong_type(path, "a text", item);
                return None;
            };
            if let Some(fault) = text_fault(path, text, &length) {
                fields.fault(path, "out_of_range", fault);
                return None;
            }
            Some(text.clone())
        })
    }

    /// An object inside, read by `read`.
    pub(crate) fn object<T>(&mut self, name: &str, read: impl FnOnce(&mut Self) -> T) -> Option<T> {
        let value = self.value(name)?;
        self.nested(name, value, read)
    }

    /// An object that stands at `path`, such as an item of a list, read by `read`.
    pub(crate) fn nested<T>(&mut self, path: &str, value: &'a Value, read: impl FnOnce(&mut Self) -> T) -> Option<T> {
        let Value::Object(object) = value else {
            self.wrong_type(path, "an object", value);
            return None;
        };
        let mut inner = Fields { prefix: format!("{}{path}.", self.prefix), object, errors: Vec::new() };
        let result = read(&mut inner);
        self.errors.append(&mut inner.errors);
        Some(result)
    }

    /// An object kept as it is, at most `bytes` long as text.
    pub(crate) fn free_object(&mut self, name: &str, bytes: usize) -> Option<Map<String, Value>> {
        let value = self.value(name)?;
        let Value::Object(object) = value else {
            self.wrong_type(name, "an object", value);
            return None;
        };
        if value.to_string().len() > bytes {
            self.fault(name, "out_of_range", format!("`{name}` may be at most {bytes} bytes of JSON"));
            return None;
        }
        Some(object.clone())
    }
}

fn text_fault(name: &str, text: &str, length: &RangeInclusive<usize>) -> Option<String> {
    let (low, high) = (length.start(), length.end());
    if text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t')) {
        return Some(format!("`{name}` must not hold control characters"));
    }
    // Only a text that holds something to read counts as one.
    let counted = if *low > 0 && text.trim().is_empty() { 0 } else { text.chars().count() };
    (!length.contains(&counted)).then(|| format!("`{name}` must be {low} to {high} characters long"))
}

const fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(json: &Value, read: impl FnOnce(&mut Fields<'_>)) -> Vec<(String, String)> {
        let object = json.as_object().expect("an object");
        let mut fields = Fields::new(object);
        read(&mut fields);
        fields.finish().into_iter().map(|error| (error.path, error.code)).collect()
    }

    #[test]
    fn every_fault_is_named_with_its_path() {
        let json = serde_json::json!({
            "name": 5, "count": 1000, "kind": "odd", "time": "soon", "list": ["a", 1], "inner": {"flag": "yes"}
        });
        let found = faults(&json, |fields| {
            fields.text("name", 1..=10);
            fields.integer("count", 1..=100);
            fields.choice("kind", &[("even", ())]);
            fields.time("time");
            fields.texts("list", 5, 1..=5);
            fields.object("inner", |inner| inner.boolean("flag"));
            let missing = fields.text("missing", 1..=5);
            fields.require("missing", missing);
        });
        let expected = [
            ("name", "wrong_type"),
            ("count", "out_of_range"),
            ("kind", "unknown_value"),
            ("time", "wrong_type"),
            ("list.1", "wrong_type"),
            ("inner.flag", "wrong_type"),
            ("missing", "required"),
        ];
        assert_eq!(found, expected.map(|(path, code)| (path.to_owned(), code.to_owned())));
    }

    #[test]
    fn null_reads_as_absent_and_blank_is_no_name() {
        let json = serde_json::json!({"a": null, "b": "  "});
        let found = faults(&json, |fields| {
            assert_eq!(fields.text("a", 1..=3), None);
            assert_eq!(fields.text("b", 1..=3), None);
        });
        assert_eq!(found, [("b".to_owned(), "out_of_range".to_owned())]);
    }
}
