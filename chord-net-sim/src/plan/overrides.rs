//! Overrides from the command line: `churn.crashes=4/min`.

use toml::{Table, Value};

use super::PlanError;

/// Sets one value. Text that is no TOML value by itself is taken as a string, so that
/// `run.duration=5m` needs no quotes. A number in the path is a place in an array.
pub(super) fn apply(table: &mut Table, text: &str) -> Result<(), PlanError> {
    let fail = |why: &str| PlanError::Override {
        text: text.to_owned(),
        why: why.to_owned(),
    };
    let Some((path, value)) = text.split_once('=') else {
        return Err(fail("write it as section.key=value"));
    };
    let mut names: Vec<&str> = path.split('.').map(str::trim).collect();
    if names.iter().any(|name| name.is_empty()) {
        return Err(fail(
            "a part of the name is empty: write it as section.key=value",
        ));
    }
    let last = names.pop().expect("a split has at least one part");
    let mut at = table;
    let mut names = names.into_iter();
    while let Some(name) = names.next() {
        let entry = at.entry(name).or_insert_with(|| Value::Table(Table::new()));
        at = match entry {
            Value::Table(table) => table,
            Value::Array(array) => {
                let place = names.next().and_then(|place| place.parse::<usize>().ok());
                place
                    .and_then(|place| array.get_mut(place)?.as_table_mut())
                    .ok_or_else(|| fail("name an existing entry by its number, counted from 0"))?
            }
            Value::String(_)
            | Value::Integer(_)
            | Value::Float(_)
            | Value::Boolean(_)
            | Value::Datetime(_) => return Err(fail(&format!("`{name}` is not a section"))),
        };
    }
    at.insert(last.to_owned(), read(value.trim()));
    Ok(())
}

fn read(text: &str) -> Value {
    let parsed = format!("value = {text}").parse::<Table>().ok();
    let value = parsed.and_then(|mut table| table.remove("value"));
    value.unwrap_or_else(|| Value::String(text.to_owned()))
}
