//! A walked ring as a table, as a circle of text, and as a picture.

use std::f64::consts::TAU;
use std::fmt::Write;

use chord_core::id::Id;

use crate::documents::{MemberDocument, RingDocument};
use crate::term;

/// A line for each member, in the order of the ring.
pub(super) fn table(ring: &RingDocument) -> String {
    let rows: Vec<Vec<String>> = sorted(ring)
        .iter()
        .map(|member| {
            vec![
                member.id.clone(),
                member.addr.clone(),
                format!("{:5.2} %", 100.0 * share(ring, member)),
                member
                    .predecessor
                    .as_deref()
                    .map_or("none", short)
                    .to_owned(),
                list(&member.successors),
            ]
        })
        .collect();
    let mut text = term::table(
        &["member", "address", "owns", "predecessor", "successors"],
        &rows,
    );
    for peer in &ring.unreachable {
        // Writing to a string cannot fail.
        let _ = write!(text, "\n{}  {}  does not answer", peer.id, peer.addr);
    }
    text
}

/// A circle of text with the members on it.
pub(super) fn ascii(ring: &RingDocument) -> String {
    const RADIUS: f64 = 9.0;
    // A character is about twice as high as wide.
    const ASPECT: f64 = 2.1;
    let (height, width) = (
        2 * RADIUS as usize + 1,
        (2.0 * RADIUS * ASPECT) as usize + 1,
    );
    let mut canvas = vec![vec![' '; width]; height];
    let mut plot = |turn: f64, mark: char| {
        let (sin, cos) = (turn * TAU).sin_cos();
        let column = ((1.0 + sin) * RADIUS * ASPECT).round() as usize;
        let row = ((1.0 - cos) * RADIUS).round() as usize;
        canvas[row.min(height - 1)][column.min(width - 1)] = mark;
    };
    for dot in 0..72 {
        plot(f64::from(dot) / 72.0, '·');
    }
    let members = sorted(ring);
    for (at, member) in members.iter().enumerate() {
        plot(turn(&member.id), mark(at));
    }
    let mut text = String::new();
    for row in canvas {
        let line: String = row.into_iter().collect();
        text.push_str(line.trim_end());
        text.push('\n');
    }
    for (at, member) in members.iter().enumerate() {
        let _ = write!(text, "\n{} {} {}", mark(at), short(&member.id), member.addr);
    }
    text
}

/// A stand-alone picture: members on a circle, arcs to their first successors.
pub(super) fn svg(ring: &RingDocument) -> String {
    const RADIUS: f64 = 200.0;
    const CENTRE: f64 = 300.0;
    let place = |id: &str, radius: f64| {
        let (sin, cos) = (turn(id) * TAU).sin_cos();
        (CENTRE + radius * sin, CENTRE - radius * cos)
    };
    let mut text = String::from(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 600 600\" font-family=\"sans-serif\" \
         font-size=\"11\">\n<rect width=\"600\" height=\"600\" fill=\"white\"/>\n\
         <circle cx=\"300\" cy=\"300\" r=\"200\" fill=\"none\" stroke=\"#bbb\"/>\n",
    );
    for member in sorted(ring) {
        let (x, y) = place(&member.id, RADIUS);
        if let Some(successor) = member.successors.first() {
            let (to_x, to_y) = place(successor, RADIUS);
            let _ = writeln!(
                text,
                "<path d=\"M{x:.1} {y:.1} Q{CENTRE} {CENTRE} {to_x:.1} {to_y:.1}\" fill=\"none\" stroke=\"#48c\" \
                 stroke-opacity=\"0.5\"/>"
            );
        }
        let (label_x, label_y) = place(&member.id, RADIUS + 22.0);
        let anchor = if (label_x - CENTRE).abs() < 30.0 {
            "middle"
        } else if label_x > CENTRE {
            "start"
        } else {
            "end"
        };
        let _ = writeln!(
            text,
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"5\" fill=\"#264\"><title>{} {}</title></circle>\n\
             <text x=\"{label_x:.1}\" y=\"{label_y:.1}\" text-anchor=\"{anchor}\">{}</text>",
            escape(&member.id),
            escape(&member.addr),
            escape(short(&member.id)),
        );
    }
    text.push_str("</svg>");
    text
}

fn sorted(ring: &RingDocument) -> Vec<&MemberDocument> {
    let mut members: Vec<&MemberDocument> = ring.members.iter().collect();
    members.sort_by(|a, b| a.id.cmp(&b.id));
    members
}

/// The part of the ring between a member and the live one before it, 0 to 1.
fn share(ring: &RingDocument, member: &MemberDocument) -> f64 {
    let members = sorted(ring);
    let at = members
        .iter()
        .position(|other| other.id == member.id)
        .unwrap_or(0);
    let before = members[(at + members.len() - 1) % members.len()];
    if before.id == member.id {
        return 1.0;
    }
    (turn(&member.id) - turn(&before.id)).rem_euclid(1.0)
}

/// How far round the circle an id lies, 0 to 1.
fn turn(id: &str) -> f64 {
    let prefix = Id::from_hex(id).map_or(0, Id::prefix);
    prefix as f64 / 2_f64.powi(64)
}

fn short(id: &str) -> &str {
    id.get(..8).unwrap_or(id)
}

fn list(ids: &[String]) -> String {
    const SHOWN: usize = 4;
    let mut text: Vec<&str> = ids.iter().take(SHOWN).map(|id| short(id)).collect();
    let more = format!("and {} more", ids.len().saturating_sub(SHOWN));
    if ids.len() > SHOWN {
        text.push(&more);
    }
    text.join(" ")
}

/// Members are marked 1 to 9, then a to z, then with a dot.
fn mark(at: usize) -> char {
    let digit = u32::try_from(at + 1)
        .ok()
        .and_then(|number| char::from_digit(number, 36));
    digit.unwrap_or('o')
}

/// An answer is somebody else's text: nothing of it may become markup.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(prefixes: &[u8]) -> RingDocument {
        let id = |at: usize| format!("{:02x}{}", prefixes[at % prefixes.len()], "0".repeat(38));
        let members = (0..prefixes.len())
            .map(|at| MemberDocument {
                id: id(at),
                addr: format!("127.0.0.1:{at}"),
                predecessor: Some(id(at + prefixes.len() - 1)),
                successors: (1..prefixes.len()).map(|step| id(at + step)).collect(),
                incarnation: 1,
            })
            .collect();
        RingDocument {
            members,
            unreachable: Vec::new(),
            truncated: false,
        }
    }

    #[test]
    fn shares_of_a_ring_add_up_to_the_whole() {
        let ring = ring(&[0, 64, 128, 250]);
        let shares: Vec<f64> = ring
            .members
            .iter()
            .map(|member| share(&ring, member))
            .collect();
        assert!(
            (shares.iter().sum::<f64>() - 1.0).abs() < 1e-9,
            "{shares:?}"
        );
        assert!((shares[1] - 0.25).abs() < 1e-9, "{shares:?}");
    }

    #[test]
    fn the_only_member_owns_everything() {
        assert!(table(&ring(&[7])).contains("100.00 %"));
    }

    #[test]
    fn every_form_shows_every_member() {
        let ring = ring(&[0, 64, 128, 250]);
        for text in [table(&ring), ascii(&ring), svg(&ring)] {
            for member in &ring.members {
                assert!(text.contains(&member.id[..8]), "{text}");
            }
        }
        assert_eq!(svg(&ring).matches("<circle").count(), 1 + 4);
    }

    #[test]
    fn text_of_others_never_becomes_markup() {
        let mut ring = ring(&[1, 2]);
        ring.members[0].addr = "<script>\"&".into();
        assert!(!svg(&ring).contains("<script"));
    }

    #[test]
    fn ids_that_are_none_do_not_break_the_drawing() {
        let mut ring = ring(&[1, 2]);
        ring.members[0].id = "é".into();
        ring.members[1].successors = vec![String::new()];
        for text in [table(&ring), ascii(&ring), svg(&ring)] {
            assert!(!text.is_empty());
        }
    }
}
