//! What can be wrong with a package.

use super::archives::Form;

/// One thing that is wrong with a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flaw {
    MissingLayer,
    MissingConfig,
    SwappedLayers,
    OtherLayer,
    TooFewDiffIds,
    WrongSize,
    FlippedBit,
    CutOff,
    OtherLayersInManifest,
    UnusableName,
    OneNameForTwo,
    LeadsOut,
    Device,
    LostLink,
    EmptyArchive,
    UnsupportedArchive,
    ArchiveInArchive,
    LayoutInDirectory,
    BelowFile,
    IndexOfNothing,
    NameOfAnother,
    MissingInnerManifest,
    WrongIndexSize,
    ImageAndIndex,
    ConfigIsNoJson,
    TrailingBytes,
    OtherContentTwice,
    CutOffCompressed,
    OtherLayoutVersion,
    LostIndex,
    OldArchive,
}

impl Flaw {
    pub(crate) const ALL: [Self; 31] = [
        Self::MissingLayer,
        Self::MissingConfig,
        Self::SwappedLayers,
        Self::OtherLayer,
        Self::TooFewDiffIds,
        Self::WrongSize,
        Self::FlippedBit,
        Self::CutOff,
        Self::OtherLayersInManifest,
        Self::UnusableName,
        Self::OneNameForTwo,
        Self::LeadsOut,
        Self::Device,
        Self::LostLink,
        Self::EmptyArchive,
        Self::UnsupportedArchive,
        Self::ArchiveInArchive,
        Self::LayoutInDirectory,
        Self::BelowFile,
        Self::IndexOfNothing,
        Self::NameOfAnother,
        Self::MissingInnerManifest,
        Self::WrongIndexSize,
        Self::ImageAndIndex,
        Self::ConfigIsNoJson,
        Self::TrailingBytes,
        Self::OtherContentTwice,
        Self::CutOffCompressed,
        Self::OtherLayoutVersion,
        Self::LostIndex,
        Self::OldArchive,
    ];

    /// Whether it is beside the archives of a package.
    pub(crate) fn is_beside_archives(self) -> bool {
        matches!(
            self,
            Self::LeadsOut
                | Self::Device
                | Self::LostLink
                | Self::EmptyArchive
                | Self::UnsupportedArchive
                | Self::ArchiveInArchive
                | Self::LayoutInDirectory
                | Self::BelowFile
                | Self::OneNameForTwo
                | Self::OldArchive
        )
    }

    /// Whether a package may be whole in spite of it: headers of compressed layers have bits that nothing
    /// depends on, and the end of an archive may be padding.
    pub(crate) fn is_uncertain(self) -> bool {
        matches!(self, Self::FlippedBit | Self::CutOffCompressed)
    }

    /// The only form that can have it.
    pub(crate) fn form(self) -> Option<Form> {
        match self {
            Self::WrongSize
            | Self::IndexOfNothing
            | Self::MissingInnerManifest
            | Self::WrongIndexSize
            | Self::ImageAndIndex
            | Self::OtherLayoutVersion
            | Self::LostIndex => Some(Form::Layout),
            Self::UnusableName => Some(Form::Docker),
            Self::OtherLayersInManifest | Self::NameOfAnother => Some(Form::Both),
            _ => None,
        }
    }
}
