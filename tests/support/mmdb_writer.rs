//! Writes small MaxMind DB files (format 2.0, IPv6 tree with IPv4 at `::/96`, 32-bit records) for tests.

use std::net::IpAddr;

/// A value of the data section.
#[derive(Clone, Debug)]
pub enum Value {
    /// UTF-8 text.
    Text(&'static str),
    /// An unsigned number of 16 bits.
    U16(u16),
    /// An unsigned number of 32 bits.
    U32(u32),
    /// An unsigned number of 64 bits.
    U64(u64),
    /// A map with text keys.
    Map(Vec<(&'static str, Value)>),
    /// A list.
    List(Vec<Value>),
}

/// The bytes of a database in which each network (`192.0.2.0/24`) has a record. Networks must not overlap.
pub fn mmdb(database_type: &'static str, networks: &[(&str, Value)]) -> Vec<u8> {
    let mut data = Vec::new();
    let mut tree = vec![[Record::Empty; 2]];
    for (network, value) in networks {
        let offset = data.len();
        encode(value, &mut data);
        insert(&mut tree, network, offset);
    }
    let nodes = tree.len() as u32;
    let mut bytes = Vec::new();
    for record in tree.iter().flatten() {
        let number = match *record {
            Record::Empty => nodes,
            Record::Node(node) => node as u32,
            Record::Data(offset) => nodes + 16 + offset as u32,
        };
        bytes.extend(number.to_be_bytes());
    }
    bytes.extend([0; 16]);
    bytes.extend(data);
    bytes.extend(b"\xab\xcd\xefMaxMind.com");
    encode(&metadata(database_type, nodes), &mut bytes);
    bytes
}

fn metadata(database_type: &'static str, nodes: u32) -> Value {
    Value::Map(vec![
        ("binary_format_major_version", Value::U16(2)),
        ("binary_format_minor_version", Value::U16(0)),
        ("build_epoch", Value::U64(1_700_000_000)),
        ("database_type", Value::Text(database_type)),
        ("description", Value::Map(vec![("en", Value::Text("made by a test"))])),
        ("ip_version", Value::U16(6)),
        ("languages", Value::List(vec![Value::Text("en")])),
        ("node_count", Value::U32(nodes)),
        ("record_size", Value::U16(32)),
    ])
}

#[derive(Clone, Copy, Debug)]
enum Record {
    Empty,
    Node(usize),
    Data(usize),
}

fn insert(tree: &mut Vec<[Record; 2]>, network: &str, offset: usize) {
    let (address, bits) = network.split_once('/').expect("a network with a prefix length");
    let bits: usize = bits.parse().expect("a prefix length");
    let (key, bits) = match address.parse().expect("an address") {
        IpAddr::V4(v4) => (u128::from(u32::from(v4)), bits + 96),
        IpAddr::V6(v6) => (u128::from(v6), bits),
    };
    let mut node = 0;
    for depth in 0..bits {
        let side = (key >> (127 - depth) & 1) as usize;
        if depth + 1 == bits {
            tree[node][side] = Record::Data(offset);
            return;
        }
        node = match tree[node][side] {
            Record::Node(next) => next,
            Record::Empty | Record::Data(_) => {
                tree.push([Record::Empty; 2]);
                let next = tree.len() - 1;
                tree[node][side] = Record::Node(next);
                next
            }
        };
    }
}

fn encode(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Text(text) => {
            control(2, text.len(), out);
            out.extend(text.as_bytes());
        }
        Value::U16(number) => unsigned(5, &number.to_be_bytes(), out),
        Value::U32(number) => unsigned(6, &number.to_be_bytes(), out),
        Value::U64(number) => unsigned(9, &number.to_be_bytes(), out),
        Value::Map(entries) => {
            control(7, entries.len(), out);
            for (key, value) in entries {
                encode(&Value::Text(key), out);
                encode(value, out);
            }
        }
        Value::List(values) => {
            control(11, values.len(), out);
            values.iter().for_each(|value| encode(value, out));
        }
    }
}

fn unsigned(kind: u8, bytes: &[u8], out: &mut Vec<u8>) {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    control(kind, bytes.len() - zeros, out);
    out.extend(&bytes[zeros..]);
}

/// The control byte of a value: three bits of type and five of size; types above 7 have a byte of their own.
fn control(kind: u8, size: usize, out: &mut Vec<u8>) {
    assert!(size < 29, "this writer knows short values only");
    if kind <= 7 {
        out.push(kind << 5 | size as u8);
    } else {
        out.extend([size as u8, kind - 7]);
    }
}
