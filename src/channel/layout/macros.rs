//! The macro that turns the declarations of `layout.rs` into Rust items and into the parts of
//! `lib/layout.js`.

/// Declares what crosses between the two sides. Comments of the entries become those of both languages.
///
/// - `enum Name: repr = first { Entry, … }`: numbers from `first` on, in order.
/// - `events { Name { field: type, … }, … }`: the kinds of events, from 1 on, and the meaning of the words
///   `a` to `c` of each.
/// - `header Name { word, … }`: the words of an event.
/// - `flags name { FLAG, … }`: bits from the lowest on, and above them `FIELD: width` for numbers of that
///   many bits.
/// - `calls { Name { field: type, … } … }`: the words that JavaScript leaves in the array of call arguments
///   before a call, from the first one on; `CALL_LAYOUT_WORDS` is the length of the longest.
/// - `const NAME: type = value;`
///
/// The macro works through the declarations one by one, and collects the parts for JavaScript in the
/// brackets.
macro_rules! layout {
    (@items [$($part:expr,)*]) => {
        /// All that is declared, in order.
        fn parts() -> Vec<Part> {
            [$($part),*].concat()
        }
    };

    (@items [$($parts:tt)*]
        $(#[doc = $doc:literal])*
        enum $name:ident: $repr:ident = $first:literal {
            $(#[doc = $head_doc:literal])* $head:ident,
            $($(#[doc = $entry_doc:literal])* $entry:ident,)*
        }
        $($rest:tt)*
    ) => {
        numbers! {
            [$(#[doc = $doc])*] $name $repr $first
            [$(#[doc = $head_doc])* $head] $([$(#[doc = $entry_doc])* $entry])*
        }
        layout! { @items [$($parts)*
            vec![Part::Table {
                name: stringify!($name).into(),
                docs: vec![$($doc),*],
                entries: vec![
                    (screaming(stringify!($head)), vec![$($head_doc.into()),*], $name::$head as u32),
                    $((screaming(stringify!($entry)), vec![$($entry_doc.into()),*], $name::$entry as u32),)*
                ],
            }],
        ] $($rest)* }
    };

    (@items [$($parts:tt)*]
        events {
            $(#[doc = $head_doc:literal])* $head:ident { $($head_field:ident: $head_type:ty),* },
            $($(#[doc = $entry_doc:literal])* $entry:ident $({ $($field:ident: $type:ty),* })?,)*
        }
        $($rest:tt)*
    ) => {
        numbers! {
            [#[doc = " The kind of an event, as the number in its header."]]
            EventKind u32 1 [$(#[doc = $head_doc])* $head] $([$(#[doc = $entry_doc])* $entry])*
        }

        /// An event with its arguments.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum JsEvent {
            $(#[doc = $head_doc])* $head { $($head_field: $head_type),* },
            $($(#[doc = $entry_doc])* $entry $({ $($field: $type),* })?,)*
        }

        impl JsEvent {
            pub fn kind(self) -> EventKind {
                match self {
                    JsEvent::$head { .. } => EventKind::$head,
                    $(JsEvent::$entry { .. } => EventKind::$entry,)*
                }
            }

            /// The words `a` to `c` of its header.
            pub fn args(self) -> [u32; EVENT_ARGS] {
                let mut words = [0; EVENT_ARGS];
                match self {
                    JsEvent::$head { $($head_field),* } => write_fields!(words, $($head_field: $head_type),*),
                    $(JsEvent::$entry $({ $($field),* })? => write_fields!(words, $($($field: $type),*)?),)*
                }
                words
            }

            /// The inverse of `kind` and `args`.
            pub fn read(kind: EventKind, words: [u32; EVENT_ARGS]) -> JsEvent {
                match kind {
                    EventKind::$head => read_fields!((JsEvent::$head) words, $($head_field: $head_type),*),
                    $(EventKind::$entry => read_fields!((JsEvent::$entry) words, $($($field: $type),*)?),)*
                }
            }
        }

        layout! { @items [$($parts)*
            vec![Part::Table {
                name: "EventKind".into(),
                docs: vec![
                    " The kinds of events. A receiver is called with slot and generation, which name the exchange, the",
                    " three words of arguments, and offset and length of the payload.",
                ],
                entries: vec![
                    (
                        screaming(stringify!($head)),
                        event_docs(&[$($head_doc),*], &[$(<$head_type>::words(&camel(stringify!($head_field)))),*]),
                        EventKind::$head as u32,
                    ),
                    $((
                        screaming(stringify!($entry)),
                        event_docs(&[$($entry_doc),*], &[$($(<$type>::words(&camel(stringify!($field)))),*)?]),
                        EventKind::$entry as u32,
                    ),)*
                ],
            }],
        ] $($rest)* }
    };

    (@items [$($parts:tt)*]
        $(#[doc = $doc:literal])*
        header $name:ident { $($word:ident,)* }
        $($rest:tt)*
    ) => {
        $(#[doc = $doc])*
        #[derive(Clone, Copy, Debug, Default)]
        #[repr(C)]
        pub struct $name {
            $(pub $word: u32,)*
        }

        impl $name {
            pub const WORDS: usize = [$(stringify!($word)),*].len();

            pub fn words(&self) -> [u32; Self::WORDS] {
                [$(self.$word),*]
            }
        }

        layout! { @items [$($parts)* deliver_function(&[$(stringify!($word)),*]),] $($rest)* }
    };

    (@items [$($parts:tt)*]
        $(#[doc = $doc:literal])*
        flags $name:ident {
            $($(#[doc = $flag_doc:literal])* $flag:ident,)*
            $(; $($(#[doc = $field_doc:literal])* $field:ident: $width:literal bits,)*)?
        }
        $($rest:tt)*
    ) => {
        $(#[doc = $doc])*
        pub mod $name {
            #[allow(non_camel_case_types, clippy::upper_case_acronyms, reason = "they are named as the flags")]
            enum Bit { $($flag,)* Count }
            $($(#[doc = $flag_doc])* pub const $flag: u32 = 1 << Bit::$flag as u32;)*

            $(
                #[allow(non_camel_case_types, clippy::upper_case_acronyms, reason = "they are named as the fields")]
                enum Index { $($field),* }
                const WIDTHS: &[u32] = &[$($width),*];
                $(
                    $(#[doc = $field_doc])*
                    pub const $field: super::BitField =
                        super::BitField::above(Bit::Count as u32, WIDTHS, Index::$field as usize);
                )*
            )?

            /// Bits that have a meaning.
            pub const BITS: u32 = Bit::Count as u32 $($(+ $width)*)?;
        }

        const _: () = assert!($name::BITS <= 31, "more would be no small integer of V8's");

        layout! { @items [$($parts)*
            vec![
                Part::Table {
                    name: pascal(stringify!($name)),
                    docs: vec![$($doc),*],
                    entries: vec![
                        $((stringify!($flag).into(), vec![$($flag_doc.into()),*], $name::$flag),)*
                    ],
                },
                $($(bit_field_function(stringify!($field), vec![$($field_doc),*], $name::$field),)*)?
            ],
        ] $($rest)* }
    };

    (@items [$($parts:tt)*]
        calls {
            $($(#[doc = $doc:literal])* $name:ident { $($field:ident: $type:ty),* })*
        }
        $($rest:tt)*
    ) => {
        $(
            $(#[doc = $doc])*
            #[derive(Clone, Copy, Debug, PartialEq, Eq)]
            pub struct $name {
                $(pub $field: $type,)*
            }

            impl $name {
                pub const WORDS: usize = 0 $(+ <$type>::WORDS)*;

                pub fn read(words: [u32; Self::WORDS]) -> Self {
                    read_fields!(($name) words, $($field: $type),*)
                }
            }
        )*

        /// Words of the longest of them.
        const CALL_LAYOUT_WORDS: usize = longest(&[$($name::WORDS),*]);

        layout! { @items [$($parts)*
            vec![$(
                put_function(
                    stringify!($name),
                    vec![$($doc),*],
                    &[$(<$type>::passed(&camel(stringify!($field)))),*],
                ),
            )*],
        ] $($rest)* }
    };

    (@items [$($parts:tt)*]
        $(#[doc = $doc:literal])*
        const $name:ident: $type:ty = $value:expr;
        $($rest:tt)*
    ) => {
        $(#[doc = $doc])*
        pub const $name: $type = $value;

        layout! { @items [$($parts)*
            vec![Part::Constant {
                name: stringify!($name),
                docs: vec![$($doc),*],
                value: $name.literal(),
            }],
        ] $($rest)* }
    };

    ($($items:tt)*) => { layout! { @items [] $($items)* } };
}

/// An enum whose numbers follow each other.
macro_rules! numbers {
    (
        [$($doc:tt)*] $name:ident $repr:ident $first:literal
        [$(#[doc = $head_doc:literal])* $head:ident]
        $([$(#[doc = $entry_doc:literal])* $entry:ident])*
    ) => {
        $($doc)*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr($repr)]
        pub enum $name {
            $(#[doc = $head_doc])* $head = $first,
            $($(#[doc = $entry_doc])* $entry,)*
        }

        impl $name {
            pub const ALL: &'static [$name] = &[$name::$head, $($name::$entry),*];

            pub fn from_number(number: u32) -> Option<$name> {
                Self::ALL.get((number as usize).checked_sub($first)?).copied()
            }
        }
    };
}

/// Writes values into words, one behind the other.
macro_rules! write_fields {
    ($words:ident, $($field:ident: $type:ty),*) => {{
        let rest = &mut $words[..];
        $(let rest = $field.write(rest);)*
        let _ = rest;
    }};
}

/// The inverse of `write_fields`: a struct, or a variant of an enum.
macro_rules! read_fields {
    (($($path:tt)*) $words:ident, $($field:ident: $type:ty),*) => {{
        let rest = &$words[..];
        $(let ($field, rest) = <$type>::read(rest);)*
        let _ = rest;
        $($path)* { $($field),* }
    }};
}

pub(super) use {layout, numbers, read_fields, write_fields};
