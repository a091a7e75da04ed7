//! Aligned columns with a heading, of text that is safe to show.
#![forbid(unsafe_code)]

use unicode_width::UnicodeWidthStr;

use super::screen::Paint;
use super::show::cut;
use crate::model::text::escaped;

/// A column's heading, and whether numbers stand in it.
pub type Heading = (&'static str, bool);

/// One line a row. With a width, what is too long for it is cut.
pub fn grid(headings: &[Heading], rows: &[Vec<String>], width: Option<usize>, colour: bool) -> String {
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|text| escaped(text).into_owned()).collect()).collect();
    let wide = |column: usize| {
        let texts = rows.iter().filter_map(|row| row.get(column)).map(|text| text.width());
        texts.fold(headings[column].0.len(), usize::max)
    };
    let widths: Vec<usize> = (0..headings.len()).map(wide).collect();
    let line = |texts: &[&str]| {
        let mut out = String::new();
        for ((text, (_, is_number)), wide) in texts.iter().zip(headings).zip(&widths) {
            let padding = " ".repeat(wide.saturating_sub(text.width()));
            out.push_str(&if *is_number { padding + text } else { (*text).to_owned() + &padding });
            out.push_str("  ");
        }
        let out = out.trim_end();
        width.map_or_else(|| out.to_owned(), |width| cut(out, width).into_owned())
    };
    let heading = line(&headings.iter().map(|(heading, _)| *heading).collect::<Vec<_>>());
    let mut out = if colour { Paint::Heading.on(&heading) } else { heading };
    out.push('\n');
    for row in &rows {
        out.push_str(&line(&row.iter().map(String::as_str).collect::<Vec<_>>()));
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_escaped_and_cut_to_the_width() {
        let rows = [["a", "7", "long \x1b text"], ["bcd", "1000", "x"]].map(|row| row.map(str::to_owned).to_vec());
        let headings = [("ID", false), ("N", true), ("TEXT", false)];
        let whole = "ID      N  TEXT\na       7  long \\x1b text\nbcd  1000  x\n";
        assert_eq!(grid(&headings, &rows, None, false), whole);
        assert_eq!(grid(&headings, &rows, Some(14), false).lines().nth(1), Some("a       7  lo…"));
    }
}
