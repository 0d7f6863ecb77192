//! Which columns of the table an import stores, decided once before its first row.

use crate::mail::{Printable, nearest};

/// A merge field that the template uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsedField {
    /// The name, which is that of a column.
    pub name: String,
    /// Used in a header, where a value must not hold a line break (A30).
    pub in_header: bool,
}

/// Where the address and the values stand in each row.
#[derive(Clone, Debug)]
pub struct Plan {
    pub(super) email: Column,
    pub(super) fields: Vec<Column>,
}

#[derive(Clone, Debug)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) at: usize,
    pub(super) in_header: bool,
}

/// A column that the campaign needs is not there, or is there twice.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    #[error("there is no column `{}`, which {reason}{}; the columns are {}", Printable(name), hint(near.as_deref()), list(columns))]
    Missing { name: String, reason: &'static str, near: Option<String>, columns: Vec<String> },
    #[error("there are two columns `{}`, which {reason}; give one of them another name", Printable(name))]
    Twice { name: String, reason: &'static str },
}

fn hint(near: Option<&str>) -> String {
    near.map_or(String::new(), |near| format!(" (did you mean `{}`?)", Printable(near)))
}

fn list(columns: &[String]) -> String {
    let mut list =
        columns.iter().take(30).map(|name| format!("`{}`", Printable(name))).collect::<Vec<_>>().join(", ");
    if columns.len() > 30 {
        list += &format!(" and {} more", columns.len() - 30);
    }
    list
}

impl Plan {
    /// Finds the e-mail column and the columns of the fields that the template uses; the order of `fields` is that of the
    /// stored values. Other columns are not stored.
    ///
    /// # Errors
    /// All columns that are missing or there twice.
    pub fn new(columns: &[String], email_column: &str, fields: &[UsedField]) -> Result<Plan, Vec<PlanError>> {
        let mut errors = Vec::new();
        let email = find(columns, email_column, true, "holds the addresses (`email-column`)", &mut errors);
        let found: Vec<Column> = fields
            .iter()
            .map(|field| find(columns, &field.name, field.in_header, "the template uses", &mut errors))
            .collect();
        if errors.is_empty() { Ok(Plan { email, fields: found }) } else { Err(errors) }
    }

    /// The columns that every row needs.
    pub fn columns(&self) -> impl Iterator<Item = usize> {
        std::iter::once(&self.email).chain(&self.fields).map(|column| column.at)
    }

    /// Names of the fields, in the order of the stored values.
    pub fn field_names(&self) -> Vec<String> {
        self.fields.iter().map(|field| field.name.clone()).collect()
    }
}

/// The column called `name`; any column, and an error added, when there is none or more than one.
fn find(
    columns: &[String],
    name: &str,
    in_header: bool,
    reason: &'static str,
    errors: &mut Vec<PlanError>,
) -> Column {
    let mut found = columns.iter().enumerate().filter(|(_, column)| *column == name).map(|(at, _)| at);
    let at = found.next();
    if at.is_none() {
        let near = nearest(name, columns.iter().map(String::as_str)).map(str::to_owned);
        errors.push(PlanError::Missing { name: name.to_owned(), reason, near, columns: columns.to_vec() });
    } else if found.next().is_some() {
        errors.push(PlanError::Twice { name: name.to_owned(), reason });
    }
    Column { name: name.to_owned(), at: at.unwrap_or_default(), in_header }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn used(name: &str) -> UsedField {
        UsedField { name: name.to_owned(), in_header: false }
    }

    #[test]
    fn columns_are_found_wherever_they_stand() {
        let plan = Plan::new(
            &columns(&["id", "name", "email", "city", "id"]),
            "email",
            &[used("city"), used("name")],
        );
        let plan = plan.unwrap();
        assert_eq!(plan.columns().collect::<Vec<_>>(), [2, 3, 1]);
        assert_eq!(plan.field_names(), ["city", "name"]);
    }

    #[test]
    fn everything_that_is_missing_is_named() {
        let errors =
            Plan::new(&columns(&["mail", "fist_name", "x", "x"]), "email", &[used("first_name"), used("x")]);
        let errors: Vec<_> = errors.unwrap_err().iter().map(ToString::to_string).collect();
        assert_eq!(
            errors,
            [
                "there is no column `email`, which holds the addresses (`email-column`) (did you mean `mail`?); the \
                 columns are `mail`, `fist_name`, `x`, `x`",
                "there is no column `first_name`, which the template uses (did you mean `fist_name`?); the columns are \
                 `mail`, `fist_name`, `x`, `x`",
                "there are two columns `x`, which the template uses; give one of them another name",
            ]
        );
    }
}
