//! Declares enums whose variants have names.

/// Declares an enum, with a constant `ALL` and a method that returns the name of a variant.
macro_rules! named_enum {
    (
        $(#[$attribute:meta])*
        pub enum $name:ident {
            $($(#[$variant_doc:meta])* $variant:ident => $text:literal,)*
        }
        $(#[$method_doc:meta])*
        pub fn $method:ident;
    ) => {
        $(#[$attribute])*
        pub enum $name {
            $($(#[$variant_doc])* $variant,)*
        }

        impl $name {
            /// All variants, in the order of their declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            $(#[$method_doc])*
            pub fn $method(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                }
            }
        }
    };
}

pub(crate) use named_enum;
