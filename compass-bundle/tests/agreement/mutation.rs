//! Defects of generated packages.

use super::archives::Form;

/// A defect of a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mutation {
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

impl Mutation {
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

    /// Whether the mutation is outside the image archives of a package.
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

    /// Whether a package with the mutation may still be valid: some bits in headers of compressed files
    /// have no effect, and the end of an archive may be padding.
    pub(crate) fn is_uncertain(self) -> bool {
        matches!(self, Self::FlippedBit | Self::CutOffCompressed)
    }

    /// The only archive format that can have the mutation, if there is one.
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
