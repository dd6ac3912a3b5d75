//! The license of a source: who states it, and where statements contradict each other.
//!
//! Statements count in this order: the user, a `clipway.json`, the front matter of `README.md`, the text of a license
//! file, the registry's table. The first one is used. Others that say something else become notes.

mod terms;
mod text;

pub use terms::{canonical, is_on_hub, restriction};

use clipway_formats::shown;
use serde::{Deserialize, Serialize};

use crate::artifact::Artifact;
use crate::checkpoint::Checkpoint;
use crate::contract::{Contract, Known, LicenseTerms, Origin};
use crate::front_matter;
use crate::registry::{self, Pretrained};

/// Name of a model card.
pub const CARD_NAME: &str = "README.md";

/// Names of license files, in order of preference.
const FILES: [&str; 7] =
    ["LICENSE", "LICENSE.md", "LICENSE.txt", "LICENCE", "license", "license.md", "license.txt"];

/// Whether a file of this name holds the text of a license.
pub(crate) fn is_license_file(name: &str) -> bool {
    FILES.contains(&name)
}

/// A license, and who states it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stated {
    /// Its identifier on the Hub, or else its name.
    pub license: Known<String>,
    /// Its name and address, if it has no identifier of its own.
    pub terms: LicenseTerms,
}

/// A license as part of an inspection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LicenseSummary {
    /// Its identifier on the Hub, or else its name.
    pub license: String,
    /// Its name and address, if it has no identifier of its own.
    #[serde(flatten)]
    pub terms: LicenseTerms,
    /// Who states it.
    pub from: String,
    /// What it does not permit, if that is known.
    pub restriction: Option<String>,
    /// Statements of another license.
    pub contradictions: Vec<String>,
}

/// Everything that states a license of a source.
#[derive(Clone, Debug, Default)]
pub struct Licenses {
    stated: Vec<Stated>,
    notes: Vec<String>,
    file: Option<(String, Vec<u8>)>,
}

impl Licenses {
    /// Finds every statement of a checkpoint, its folder and the registry. A file that cannot be read becomes a note.
    pub fn of(checkpoint: &Checkpoint, artifact: Option<&Artifact>) -> Licenses {
        let mut found = Licenses::default();
        if let Some((license, terms)) = artifact.and_then(|artifact| artifact.contract.license_and_terms()) {
            let license = Known::new(license.value.clone(), license.from.in_artifact());
            found.stated.push(Stated { license, terms });
        }
        let card = found.read(checkpoint, CARD_NAME);
        found.stated.extend(card.and_then(|card| of_card(&String::from_utf8_lossy(&card))));
        let file = FILES.into_iter().find(|name| checkpoint.has_beside(name));
        found.file = file.and_then(|name| Some((name.to_owned(), found.read(checkpoint, name)?)));
        if let Some((name, bytes)) = &found.file {
            match text::recognize(&String::from_utf8_lossy(bytes)) {
                Some(id) => found.stated.push(Stated::new(id, Origin::file(name.as_str()))),
                None if found.stated.is_empty() => {
                    found.notes.push(format!("`{name}` is a license that clipway does not recognize"));
                }
                None => {}
            }
        }
        let place = checkpoint.hub_place();
        let listed = place.as_ref().and_then(|place| registry::license_of_repository(&place.repository));
        found.stated.extend(listed.map(|listed| Stated::new(listed.license, listed.origin())));
        found
    }

    /// The license that a contract states: an artifact's, or the one that the parts of a mix agree on.
    pub fn agreed(contract: &Contract) -> Licenses {
        let stated =
            contract.license_and_terms().map(|(license, terms)| Stated { license: license.clone(), terms });
        Licenses { stated: stated.into_iter().collect(), ..Licenses::default() }
    }

    fn read(&mut self, checkpoint: &Checkpoint, name: &str) -> Option<Vec<u8>> {
        // What an artifact does not list is no part of it; `verify` reports it.
        if checkpoint.artifact().is_some_and(|artifact| !artifact.lists(name)) {
            return None;
        }
        let read = checkpoint.read_beside(name);
        read.map_err(|error| self.notes.push(format!("no license is read from `{name}`: {error}"))).ok()?
    }

    /// The same, with what the user says first.
    #[must_use]
    pub fn with_option(&self, license: &str, link: Option<&str>) -> Licenses {
        let license = canonical(license);
        let terms = match is_on_hub(&license) {
            true => LicenseTerms::default(),
            false => LicenseTerms { name: Some(license.clone()), link: link.map(str::to_owned) },
        };
        let mut all = self.clone();
        all.stated.insert(0, Stated { license: Known::new(license, Origin::option("license")), terms });
        all.notes.clear();
        all
    }

    /// The same, with what the registry says of a pretrained tag that names the source, unless its repository was listed.
    #[must_use]
    pub fn with_tag(&self, tag: Option<&Pretrained>) -> Licenses {
        let mut all = self.clone();
        let is_listed = |stated: &Stated| matches!(stated.license.from, Origin::LicenseTable { .. });
        let listed = tag.and_then(registry::license_of_tag).filter(|_| !all.stated.iter().any(is_listed));
        all.stated.extend(listed.map(|listed| Stated::new(listed.license, listed.origin())));
        all
    }

    /// The same, with what the registry says of weights with this hash, if nothing else is known.
    #[must_use]
    pub fn with_weights(&self, sha256: &str) -> Licenses {
        let mut all = self.clone();
        if let Some(listed) = registry::license_of_weights(sha256).filter(|_| all.stated.is_empty()) {
            all.stated.push(Stated::new(listed.license, listed.origin()));
            all.notes.clear();
        }
        all
    }

    /// The license that counts.
    pub fn chosen(&self) -> Option<&Stated> {
        self.stated.first()
    }

    /// The text of the license beside the weights, and its name.
    pub fn file(&self) -> Option<(&str, &[u8])> {
        self.file.as_ref().map(|(name, bytes)| (name.as_str(), bytes.as_slice()))
    }

    /// Statements that contradict the license that counts, and files that say nothing clear.
    pub fn notes(&self) -> Vec<String> {
        let Some((first, others)) = self.stated.split_first() else { return self.notes.clone() };
        let others = others.iter().filter(|other| !other.agrees(first));
        let contradictions = others.map(|other| {
            let (used, other) = (first.with_origin(), other.with_origin());
            format!("the license is {used}, but another is stated: {other}")
        });
        contradictions.chain(self.notes.iter().cloned()).collect()
    }

    /// Writes the license that counts into a contract.
    pub fn apply(&self, contract: &mut Contract) {
        contract.license = self.chosen().map(|stated| stated.license.clone());
        contract.license_terms =
            self.chosen().map(|stated| stated.terms.clone()).filter(|terms| !terms.is_empty());
    }

    /// The summary for an inspection.
    pub fn summary(&self) -> Option<LicenseSummary> {
        let stated = self.chosen()?;
        Some(LicenseSummary {
            license: stated.license.value.clone(),
            terms: stated.terms.clone(),
            from: stated.license.from.to_string(),
            restriction: restriction(stated.raw_name()).map(str::to_owned),
            contradictions: self.notes(),
        })
    }
}

impl Stated {
    fn new(id: &str, from: Origin) -> Stated {
        Stated { license: Known::new(id.to_owned(), from), terms: LicenseTerms::default() }
    }

    /// Its name: the identifier, or for `other` the name beside it.
    fn raw_name(&self) -> &str {
        match (self.license.value.as_str(), &self.terms.name) {
            ("other", Some(name)) => name,
            (id, _) => id,
        }
    }

    /// Its name for messages.
    pub fn name(&self) -> String {
        shown(self.raw_name())
    }

    /// Its name, and who states it.
    fn with_origin(&self) -> String {
        format!("`{}` ({})", self.name(), self.license.from)
    }

    fn agrees(&self, other: &Stated) -> bool {
        canonical(self.raw_name()) == canonical(other.raw_name())
    }
}

impl Contract {
    /// The license, with its name and address.
    pub fn license_and_terms(&self) -> Option<(&Known<String>, LicenseTerms)> {
        self.license.as_ref().map(|license| (license, self.license_terms.clone().unwrap_or_default()))
    }

    /// What the license does not permit, if that is known: "does not permit commercial use".
    pub fn license_restriction(&self) -> Option<(String, &'static str)> {
        let (license, terms) = self.license_and_terms()?;
        let stated = Stated { license: license.clone(), terms };
        restriction(stated.raw_name()).map(|restriction| (stated.name(), restriction))
    }
}

/// The license in the front matter of a card.
fn of_card(card: &str) -> Option<Stated> {
    let front = front_matter::split(card).ok()?.0?;
    let id = canonical(front.text("license").filter(|id| !id.trim().is_empty())?);
    let said = |key| front.text(key).map(str::to_owned);
    let terms = match id == "other" {
        true => LicenseTerms { name: said("license_name"), link: said("license_link") },
        false => LicenseTerms::default(),
    };
    Some(Stated { license: Known::new(id, Origin::key(CARD_NAME, "license")), terms })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_states_its_license() {
        let check = |front: &str, id: Option<&str>, name: Option<&str>| {
            let found = of_card(&format!("---\n{front}---\n# x\nlicense: no\n"));
            assert_eq!(found.as_ref().map(|found| found.license.value.as_str()), id, "{front}");
            assert_eq!(found.and_then(|found| found.terms.name).as_deref(), name, "{front}");
        };
        check("license: MIT\n", Some("mit"), None);
        check("license:\n- cc-by-nc-4.0\n", Some("cc-by-nc-4.0"), None);
        check(
            "license: other\nlicense_name: apple-ascl\nlicense_link: LICENSE\n",
            Some("other"),
            Some("apple-ascl"),
        );
        check("license: [mit, apache-2.0]\n", None, None);
        check("license: {a: b}\n", None, None);
        check("tags: [license]\n", None, None);
    }

    #[test]
    fn the_first_statement_counts_and_others_are_noted() {
        let stated = vec![
            Stated::new("apache-2.0", Origin::key(CARD_NAME, "license")),
            Stated::new("apache-2.0", Origin::file("LICENSE")),
            Stated::new("mit", Origin::LicenseTable { what: "timm/x".to_owned() }),
        ];
        let found = Licenses { stated, ..Licenses::default() };
        let note = "the license is `apache-2.0` (`README.md`, `license`), but another is stated: `mit` (the registry's \
            licenses, `timm/x`)";
        assert_eq!(found.notes(), [note]);
        let said = found.with_option("My own", Some("https://example.org"));
        assert_eq!(said.chosen().unwrap().license.value, "My own");
        assert_eq!(said.notes().len(), 3);
        assert_eq!(found.with_option("Apache 2.0", None).notes().len(), 1);
        // A tag is one more statement, unless the table was asked already.
        let tag = registry::tag("ViT-H-14", "metaclip_fullcc").ok();
        assert_eq!(found.with_tag(tag).notes().len(), 1);
        let file = Licenses { stated: found.stated[..2].to_vec(), ..Licenses::default() };
        let note = "the license is `apache-2.0` (`README.md`, `license`), but another is stated: `cc-by-nc-4.0` (the \
            registry's licenses, `ViT-H-14:metaclip_fullcc`)";
        assert_eq!(file.with_tag(tag).notes(), [note]);
        assert_eq!(Licenses::default().with_tag(tag).chosen().unwrap().license.value, "cc-by-nc-4.0");
        assert!(Licenses::default().with_tag(None).chosen().is_none());
        // Weights with a known hash matter only where nothing is stated.
        let rn50 = "afeb0e10f9e5a86da6080e35cf09123aca3b358a0c3e3b6c78a7b63bc04b6762";
        assert_eq!(found.with_weights(rn50).chosen().unwrap().license.value, "apache-2.0");
        let by_hash = Licenses::default().with_weights(rn50);
        assert_eq!(by_hash.chosen().unwrap().license.value, "mit");
        assert!(by_hash.chosen().unwrap().license.from.to_string().contains("RN50:openai"));
        assert!(Licenses::default().with_weights(&rn50.replace('a', "b")).chosen().is_none());
    }
}
