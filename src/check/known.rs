//! What a device's quirks say of a case, held against what came of it.

use super::Status;

impl Status {
    /// What came of a case whose failure was expected for this reason, or not expected at all.
    pub(super) fn expecting(self, failure: Option<&str>) -> Self {
        match (self, failure) {
            (Self::Fail, Some(why)) => Self::ExpectedFailure(why.to_owned()),
            (Self::Pass, Some(why)) => Self::UnexpectedPass(format!(
                "it passes, but src/quirks says that it fails on this device: {why}"
            )),
            (status, _) => status,
        }
    }

    /// Whether something must be done about it: about the kernel, or about the quirk.
    pub fn is_wrong(&self) -> bool {
        matches!(self, Self::Fail | Self::UnexpectedPass(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expected_failure_is_not_wrong_and_an_unexpected_pass_is() {
        let because = Some("the driver is wrong");
        assert_eq!(Status::Pass.expecting(None), Status::Pass);
        assert_eq!(Status::Fail.expecting(None), Status::Fail);
        let failed = Status::Fail.expecting(because);
        assert_eq!(failed, Status::ExpectedFailure("the driver is wrong".into()));
        assert!(!failed.is_wrong() && Status::Fail.is_wrong() && !Status::Pass.is_wrong());
        let passed = Status::Pass.expecting(because);
        assert!(matches!(&passed, Status::UnexpectedPass(why) if why.ends_with(": the driver is wrong")));
        assert!(passed.is_wrong());
        let unsupported = Status::Unsupported("it is too large".into());
        assert_eq!(unsupported.clone().expecting(because), unsupported);
    }
}
