//! The header of a zstd frame (RFC 8878, section 3.1), which declares the decoder's memory.

/// The result of parsing the start of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FrameHeader {
    /// More bytes are needed.
    Incomplete,
    Invalid,
    /// A frame of user data, which decodes to nothing.
    Skippable,
    /// A frame with this window size in bytes, or with smaller content.
    Window(u64),
}

/// Parses a frame header from the first bytes of a frame.
pub(super) fn frame_header(bytes: &[u8]) -> FrameHeader {
    match bytes {
        [0x28, 0xb5, 0x2f, 0xfd, descriptor, fields @ ..] => window(*descriptor, fields),
        [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => FrameHeader::Skippable,
        [0x28, 0xb5, 0x2f, 0xfd] | [] | [_] | [_, _] | [_, _, _] => FrameHeader::Incomplete,
        _ => FrameHeader::Invalid,
    }
}

fn window(descriptor: u8, fields: &[u8]) -> FrameHeader {
    let is_single_segment = descriptor & 0x20 != 0;
    let window_size = usize::from(!is_single_segment);
    let dictionary_size = [0, 1, 2, 4][usize::from(descriptor & 3)];
    let content_size = match descriptor >> 6 {
        0 => usize::from(is_single_segment),
        flag => 1 << flag,
    };
    if fields.len() < window_size + dictionary_size + content_size {
        return FrameHeader::Incomplete;
    }
    let (window_field, fields) = fields.split_at(window_size);
    let content_field = &fields[dictionary_size..][..content_size];
    let content = content_field.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
    // A field of two bytes has an offset of 256.
    let content = if content_size == 2 { content + 256 } else { content };
    let Some(exponent) = window_field.first() else { return FrameHeader::Window(content) };
    let base = 1_u64 << (10 + (exponent >> 3));
    let window = base + base / 8 * u64::from(exponent & 7);
    FrameHeader::Window(if content_size == 0 { window } else { window.min(content) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frame_header_returns_window_size() {
        const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
        for (fields, expected) in [
            // Windows of 1 KiB, 8 MiB and 1.875 TiB.
            (&[0x00, 0x00][..], FrameHeader::Window(1 << 10)),
            (&[0x04, 0x68], FrameHeader::Window(8 << 20)),
            (&[0x00, 0xff], FrameHeader::Window(15 << 38)),
            // A single segment with a content size.
            (&[0x20, 7], FrameHeader::Window(7)),
            (&[0x60, 1, 0], FrameHeader::Window(257)),
            (&[0xa0, 0, 0, 0, 8], FrameHeader::Window(8 << 24)),
            // A dictionary, and content that is smaller than the window.
            (&[0x81, 0x68, 9, 5, 0, 0, 0], FrameHeader::Window(5)),
            (&[0x81, 0x68, 9, 5, 0, 0], FrameHeader::Incomplete),
            (
                &[0xe0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
                FrameHeader::Window(u64::MAX),
            ),
            (&[], FrameHeader::Incomplete),
        ] {
            assert_eq!(frame_header(&[&MAGIC, fields].concat()), expected, "{fields:?}");
        }
        assert_eq!(frame_header(&[0x5a, 0x2a, 0x4d, 0x18]), FrameHeader::Skippable);
        assert_eq!(frame_header(&[0x28, 0xb5, 0x2f, 0xfc]), FrameHeader::Invalid);
        assert_eq!(frame_header(&[0x28, 0xb5]), FrameHeader::Incomplete);
    }
}
