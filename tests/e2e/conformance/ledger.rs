//! What was tried and how it ended: the table that the suite prints.

use std::fmt::Write as _;
use std::sync::Mutex;

use crate::client::Outcome;

/// A part of the API, as conformance programs name them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Category {
    Ping,
    TagList,
    TagDelete,
    BlobPostOnly,
    BlobPostPut,
    BlobChunked,
    BlobStreamed,
    BlobMount,
    BlobAnonymousMount,
    UploadStatus,
    UploadCancel,
    BlobGet,
    BlobGetRange,
    BlobHead,
    BlobDelete,
    ManifestPutByDigest,
    ManifestPutByTag,
    ManifestPutTagParameters,
    ManifestPutWithSubject,
    ManifestGetByDigest,
    ManifestGetByTag,
    ManifestHeadByDigest,
    ManifestHeadByTag,
    ManifestDelete,
    Referrers,
    FallbackTags,
    Errors,
}

impl Category {
    const ALL: &[(Self, &str)] = &[
        (Self::Ping, "ping"),
        (Self::TagList, "tag list"),
        (Self::TagDelete, "tag delete"),
        (Self::BlobPostOnly, "blob post only"),
        (Self::BlobPostPut, "blob post and put"),
        (Self::BlobChunked, "blob chunked"),
        (Self::BlobStreamed, "blob streaming"),
        (Self::BlobMount, "blob mount"),
        (Self::BlobAnonymousMount, "blob anonymous mount"),
        (Self::UploadStatus, "blob upload status"),
        (Self::UploadCancel, "blob upload cancel"),
        (Self::BlobGet, "blob get"),
        (Self::BlobGetRange, "blob get range"),
        (Self::BlobHead, "blob head"),
        (Self::BlobDelete, "blob delete"),
        (Self::ManifestPutByDigest, "manifest put by digest"),
        (Self::ManifestPutByTag, "manifest put by tag"),
        (Self::ManifestPutTagParameters, "manifest put with tag parameters"),
        (Self::ManifestPutWithSubject, "manifest put with subject"),
        (Self::ManifestGetByDigest, "manifest get by digest"),
        (Self::ManifestGetByTag, "manifest get by tag"),
        (Self::ManifestHeadByDigest, "manifest head by digest"),
        (Self::ManifestHeadByTag, "manifest head by tag"),
        (Self::ManifestDelete, "manifest delete"),
        (Self::Referrers, "referrers"),
        (Self::FallbackTags, "referrers tag schema"),
        (Self::Errors, "error documents"),
    ];
}

#[derive(Debug)]
struct Entry {
    category: Category,
    scenario: String,
    name: String,
    failure: Option<String>,
}

/// Every case that was run.
#[derive(Debug, Default)]
pub(crate) struct Ledger(Mutex<Vec<Entry>>);

impl Ledger {
    /// Runs a case; what it found, unless it failed.
    pub(crate) fn case<T>(
        &self,
        category: Category,
        scenario: &str,
        name: &str,
        body: impl FnOnce() -> Outcome<T>,
    ) -> Option<T> {
        let (found, failure) = match body() {
            Ok(found) => (Some(found), None),
            Err(failure) => (None, Some(failure.0)),
        };
        let (scenario, name) = (scenario.to_owned(), name.to_owned());
        let entry = Entry { category, scenario, name, failure };
        self.0.lock().expect("no case panicked").push(entry);
        found
    }

    /// The table of categories and of scenarios, then what failed; and whether all is well: nothing
    /// failed and no category is without a case.
    pub(crate) fn report(&self, title: &str) -> (String, bool) {
        let entries = self.0.lock().expect("no case panicked");
        let mut text = format!("\nconformance on {title}\n");
        let mut well = true;
        let mut row = |label: &str, of: &dyn Fn(&Entry) -> bool| {
            let failed = entries.iter().filter(|one| of(one) && one.failure.is_some()).count();
            let passed = entries.iter().filter(|one| of(one)).count() - failed;
            well &= failed == 0 && passed > 0;
            let _ = writeln!(text, "  {label:<36}{passed:>6} passed{failed:>6} failed");
        };
        for (category, label) in Category::ALL {
            row(label, &|one| one.category == *category);
        }
        let mut scenarios: Vec<&str> = entries.iter().map(|one| one.scenario.as_str()).collect();
        scenarios.sort_unstable();
        scenarios.dedup();
        row("all categories", &|_| true);
        for scenario in scenarios {
            row(&format!("on: {scenario}"), &|one| one.scenario == scenario);
        }
        for entry in entries.iter() {
            if let Some(failure) = &entry.failure {
                let _ = writeln!(text, "\nFAILED {}: {}: {failure}", entry.scenario, entry.name);
            }
        }
        (text, well)
    }
}
