//! What the columns of a CIFTI file are: parcels by their names, grayordinates by structure and
//! vertex or voxel. Source: CIFTI-2 specification (NITRC), sections "BrainModel" and "Parcel".

use std::io::BufRead;

use crate::io::xml::{Tag, Xml, XmlError, attribute};

/// Names of a matrix's columns, in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnNames {
    /// Whether they are parcels; grayordinates otherwise.
    pub are_parcels: bool,
    /// `parcel 13`; `CORTEX_LEFT 120` for a vertex, `THALAMUS_LEFT 40 51 37` for a voxel.
    pub names: Vec<String>,
}

/// What every structure's name begins with.
const STRUCTURE: &str = "CIFTI_STRUCTURE_";
/// Characters of a structure's name that are kept, once a column.
const MAX_STRUCTURE: usize = 60;

/// Out of the XML; the caller compares their number with that of the columns.
/// # Errors
/// Those of damaged XML.
pub fn read_names(xml: impl BufRead) -> Result<ColumnNames, XmlError> {
    let mut xml = Xml::new(xml);
    let mut models: Vec<(usize, Vec<String>)> = Vec::new();
    let mut parcels = Vec::new();
    let mut text = Vec::new();
    // Of the structure that is open: its name, its first column, how many it has.
    let mut open: Option<(String, usize, usize)> = None;
    loop {
        text.clear();
        let is_wanted = open.is_some();
        let mut take = |bytes: &[u8]| {
            if is_wanted {
                text.extend_from_slice(bytes);
            }
            Ok(())
        };
        let Some(tag) = xml.text_then_tag(&mut take)? else { break };
        match tag {
            Tag::Start(name, attributes) => {
                let get = |name: &str| attribute(&attributes, name).unwrap_or_default();
                let number = |name: &str| get(name).parse::<usize>().unwrap_or(0);
                match name.as_str() {
                    "Parcel" => parcels.push(get("Name").to_owned()),
                    "BrainModel" => {
                        let structure = get("BrainStructure");
                        let structure = structure.strip_prefix(STRUCTURE).unwrap_or(structure);
                        let (first, n) = (number("IndexOffset"), number("IndexCount"));
                        open = Some((structure.chars().take(MAX_STRUCTURE).collect(), first, n));
                    }
                    _ => {}
                }
            }
            Tag::End(name) if name == "BrainModel" => open = None,
            Tag::End(name) => {
                let n_each = match name.as_str() {
                    "VertexIndices" => 1,
                    "VoxelIndicesIJK" => 3,
                    _ => continue,
                };
                let Some((structure, first, n)) = &open else { continue };
                let text = String::from_utf8_lossy(&text);
                let numbers: Vec<&str> = text.split_ascii_whitespace().collect();
                let places = numbers.chunks(n_each).take(*n);
                let names = places.map(|place| format!("{structure} {}", place.join(" ")));
                models.push((*first, names.collect()));
            }
        }
    }
    models.sort_by_key(|(first, _)| *first);
    let are_parcels = !parcels.is_empty();
    let grayordinates = models.into_iter().flat_map(|(_, names)| names);
    let names = if are_parcels { parcels } else { grayordinates.collect() };
    Ok(ColumnNames { are_parcels, names })
}
