//! The header and rows of a CSV file. A quoted field ends on its line, so that a missing quote affects one row only.

use super::row::{Row, RowJob};
use csv::{ReaderBuilder, StringRecord, Trim};

const COLUMNS: [&str; 6] = ["external_id", "name", "group", "resource", "interval", "priority"];

/// The column of each field.
#[derive(Debug, Default)]
pub(super) struct Header(Vec<&'static str>);

impl Header {
    pub(super) fn parse(line: &str) -> Result<Self, String> {
        let mut columns = Vec::new();
        for name in &fields(line)? {
            let Some(column) = COLUMNS.into_iter().find(|column| *column == name) else {
                let known = COLUMNS.join(",");
                return Err(format!("the header has an unknown column {name:?}: known columns are {known}"));
            };
            if columns.contains(&column) {
                return Err(format!("the header has the column {column} twice"));
            }
            columns.push(column);
        }
        match columns.contains(&"external_id") {
            true => Ok(Self(columns)),
            false => Err("the header lacks the column external_id".to_owned()),
        }
    }

    pub(super) fn row(&self, line: &str) -> Result<Row, String> {
        let fields = fields(line)?;
        if fields.len() != self.0.len() {
            let (found, wanted) = (fields.len(), self.0.len());
            return Err(format!("it has {found} fields where the header has {wanted}"));
        }
        let (mut row, mut job) = (Row::default(), RowJob::default());
        for (column, field) in self.0.iter().zip(&fields).filter(|(_, field)| !field.is_empty()) {
            let field = field.to_owned();
            match *column {
                "external_id" => row.external_id = field,
                "name" => row.name = field,
                "group" => row.group = field,
                "resource" => job.resource = Some(field),
                "interval" => job.interval = Some(field),
                _ => job.priority = Some(field),
            }
        }
        row.jobs.extend((job != RowJob::default()).then_some(job));
        Ok(row)
    }
}

fn fields(line: &str) -> Result<StringRecord, String> {
    // Quotes come in pairs, as do doubled ones inside a field.
    if line.bytes().filter(|byte| *byte == b'"').count() % 2 == 1 {
        return Err("a quote is not closed on its line".to_owned());
    }
    let mut reader = ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .trim(Trim::All)
        .buffer_capacity(line.len().max(1))
        .from_reader(line.as_bytes());
    let mut record = StringRecord::new();
    reader.read_record(&mut record).map_err(|error| error.to_string())?;
    Ok(record)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_may_be_in_any_order() {
        let header = Header::parse("interval, external_id,name").unwrap();
        let row = header.row(r#"30s,"a,1","say ""hi""""#).unwrap();
        assert_eq!((row.external_id.as_str(), row.name.as_str()), ("a,1", r#"say "hi""#));
        assert_eq!(row.jobs[0].interval.as_deref(), Some("30s"));
        assert!(header.row(",b,").unwrap().jobs.is_empty());
    }

    #[test]
    fn bad_rows_are_refused_with_the_reason() {
        let refused = |line| Header::parse(line).unwrap_err();
        assert!(refused("external_id;name").contains("unknown column \"external_id;name\""));
        assert!(refused("name,group").contains("lacks"));
        assert!(refused("external_id,name,name").contains("name twice"));
        let header = Header::parse("external_id,name").unwrap();
        assert!(header.row("a").unwrap_err().contains("1 fields where the header has 2"));
        assert!(header.row("a,\"b").unwrap_err().contains("not closed"));
    }
}
