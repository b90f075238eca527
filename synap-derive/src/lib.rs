//! `#[derive(Args)]`: the argument struct of a command is its grammar.
//!
//! The derive writes one implementation of `synap_core::grammar::Arg`, which parses the words *and* describes them.
//! Shapes that it knows:
//!
//! - a struct: its fields in order (`HSET key field value …`);
//! - a struct with `#[args(any_order)]`: options in any order, each introduced by its token (`[MATCH p] [COUNT n]`);
//! - a struct around one other (`struct LPush<'a>(Push<'a>)`): the same arguments, for another handler;
//! - an enum: exactly one of its variants, told apart by their tokens (`NX | XX`, `EX seconds | KEEPTTL`).
//!
//! Field and variant attributes, all inside `#[arg(…)]`:
//!
//! | attribute | meaning |
//! |---|---|
//! | `token = "MATCH"` | the word that introduces the argument; on a `bool` or a unit variant it is the whole argument |
//! | `name = "source"` | the argument's public name where the Rust name does not fit |
//! | `access = "RW access update"` | what the command does with a key; without it, what its kind of command does |
//! | `missing = "…"` | the sentence that answers a missing required token |
//! | `instead = path` | a `fn(Option<&[u8]>) -> Error` that answers what stands in the place of a required token |
//! | `once = "…"` | the sentence that answers an optional choice that is made again |
//! | `uneven = "syntax"` | an incomplete last block is a syntax error, not one of arity |
//! | `again = "replaces"` | among options, another member of the same choice replaces the one before it |
//!
//! `#[args(any_order, once)]`: an option that is given again is refused.
//! `#[args(excess_is_arity)]` on a struct: words beyond it are an error of arity instead of syntax.
//! `#[args(excess = path)]` names a `fn(&Self, Words) -> Error` that makes the error of the words beyond it.
//! `#[args(access = path)]` on a struct names a `fn(&Self) -> Access` that says what is done with its first key, where
//! that depends on other arguments; when they are wrong, what the key itself says counts.
//! `#[args(check = path)]` on a struct names a `fn(&Self) -> Result<()>` that is called when all has been read.

use proc_macro2::{Span, TokenStream};
use quote::quote;
use syn::{Attribute, Data, DeriveInput, Error, Expr, Fields, Lit, LitStr, Meta, Path, Result, Type};

#[proc_macro_derive(Args, attributes(arg, args))]
pub fn derive_args(input: proc_macro::TokenStream) -> proc_macro::TokenStream {
    let input = syn::parse_macro_input!(input as DeriveInput);
    expand(&input).unwrap_or_else(Error::into_compile_error).into()
}

fn expand(input: &DeriveInput) -> Result<TokenStream> {
    let whole = StructAttributes::read(&input.attrs)?;
    let body = match &input.data {
        Data::Struct(syn::DataStruct { fields: Fields::Unnamed(inner), .. }) if inner.unnamed.len() == 1 => {
            let ty = &inner.unnamed[0].ty;
            let arg = quote!(<#ty as crate::grammar::Arg<'a>>);
            quote! {
                const KIND: crate::grammar::spec::ArgKind = #arg::KIND;
                const MIN: usize = #arg::MIN;
                const FIXED: bool = #arg::FIXED;
                const OPTIONAL: bool = #arg::OPTIONAL;
                const REPEAT: crate::grammar::spec::Repeat = #arg::REPEAT;
                fn starts(word: &[u8]) -> bool { #arg::starts(word) }
                fn read(parser: &mut crate::grammar::Parser<'a, '_>, how: crate::grammar::How) -> crate::Result<Self> {
                    #arg::read(parser, how).map(Self)
                }
            }
        }
        Data::Struct(data) => {
            let fields = Field::read_all(&data.fields)?;
            if whole.any_order { options(&fields, &whole)? } else { block(&fields, &whole)? }
        }
        Data::Enum(data) => {
            let mut variants = Vec::new();
            for variant in &data.variants {
                let ty = match &variant.fields {
                    Fields::Unit => None,
                    Fields::Unnamed(fields) if fields.unnamed.len() == 1 => {
                        fields.unnamed.first().map(|f| f.ty.clone())
                    }
                    other => return Err(Error::new_spanned(other, "a variant holds nothing or one argument")),
                };
                variants.push(Variant {
                    ident: variant.ident.clone(),
                    ty,
                    facts: Facts::read(&variant.attrs, &variant.ident)?,
                });
            }
            choice(&variants)?
        }
        Data::Union(_) => return Err(Error::new_spanned(input, "unions are no arguments")),
    };

    let name = &input.ident;
    let borrowed = input.generics.lifetimes().next().is_some();
    let (of_a, of_any) = if borrowed { (quote!(#name<'a>), quote!(#name<'_>)) } else { (quote!(#name), quote!(#name)) };
    let family = if borrowed { quote!(#name<'w>) } else { quote!(#name) };
    Ok(quote! {
        impl<'a> crate::grammar::Arg<'a> for #of_a { #body }
        impl crate::grammar::Family for #of_any { type Of<'w> = #family; }
    })
}

/// Fields in order.
fn block(fields: &[Field], whole: &StructAttributes) -> Result<TokenStream> {
    let specs = specs(fields.iter().map(|f| (&f.facts, Some(&f.ty))));
    let mins = fields.iter().map(Field::min);
    let fixed = fields.iter().map(Field::fixed);
    let idents: Vec<_> = fields.iter().map(|f| &f.ident).collect();
    let mut reads = Vec::new();
    for (index, field) in fields.iter().enumerate() {
        let ident = &field.ident;
        let later = fields[index + 1..].iter().map(Field::min);
        let how = field.facts.how(quote!(how.after #(+ #later)*));
        let ty = &field.ty;
        reads.push(match &field.facts.token {
            None => quote!(let #ident = <#ty as crate::grammar::Arg<'a>>::read(parser, #how)?;),
            Some(token) if field.is_bool() => quote!(let #ident = parser.take_token(#token, #how);),
            Some(token) if field.is_option() => quote! {
                let #ident = if parser.take_token(#token, #how) {
                    Some(<<#ty as crate::grammar::Optional>::Inner as crate::grammar::Arg<'a>>::read(parser, #how)?)
                } else {
                    None
                };
            },
            Some(token) => {
                let missing = match (&field.facts.missing, &field.facts.instead) {
                    (Some(text), _) => quote!(crate::Error::err(#text)),
                    (None, Some(path)) => quote!(#path(parser.peek(0))),
                    (None, None) => quote!(crate::Error::SYNTAX),
                };
                quote! {
                    if !parser.take_token(#token, #how) { return Err(#missing); }
                    let #ident = <#ty as crate::grammar::Arg<'a>>::read(parser, #how)?;
                }
            }
        });
    }
    let check = whole.check();
    let first_key = whole.access.as_ref().map(|_| quote!(let first_key = parser.key_count();));
    let access = whole.access.as_ref().map(|path| quote!(parser.use_key(first_key, #path(&value));));
    let starts = match fields.first() {
        Some(first) => match &first.facts.token {
            Some(token) => quote!(word.eq_ignore_ascii_case(#token.as_bytes())),
            None => {
                let ty = &first.ty;
                quote!(<#ty as crate::grammar::Arg<'a>>::starts(word))
            }
        },
        None => quote!({
            let _ = word;
            false
        }),
    };
    Ok(quote! {
        const KIND: crate::grammar::spec::ArgKind = crate::grammar::spec::ArgKind::Block(&[#(#specs),*]);
        const MIN: usize = 0 #(+ #mins)*;
        const FIXED: bool = true #(&& #fixed)*;
        fn starts(word: &[u8]) -> bool { #starts }
        fn read(parser: &mut crate::grammar::Parser<'a, '_>, how: crate::grammar::How) -> crate::Result<Self> {
            let _ = &how;
            #first_key
            #(#reads)*
            let value = Self { #(#idents),* };
            #check
            #access
            Ok(value)
        }
    })
}

/// Options in any order. The same option again replaces what it said before, as in Redis; another member of the same
/// choice is refused, unless it replaces, too.
fn options(fields: &[Field], whole: &StructAttributes) -> Result<TokenStream> {
    let specs = specs(fields.iter().map(|f| (&f.facts, Some(&f.ty))));
    let idents: Vec<_> = fields.iter().map(|f| &f.ident).collect();
    let types: Vec<_> = fields.iter().map(|f| &f.ty).collect();
    let mut arms = Vec::new();
    let mut starts = Vec::new();
    for field in fields {
        let (ident, ty) = (&field.ident, &field.ty);
        let how = field.facts.how(quote!(how.after));
        match &field.facts.token {
            Some(token) => {
                starts.push(quote!(word.eq_ignore_ascii_case(#token.as_bytes())));
                let again = (whole.once && !field.is_bool())
                    .then(|| quote!(if #ident.is_some() { return Err(crate::Error::SYNTAX); }));
                let store = if field.is_bool() && whole.once {
                    quote!(if std::mem::replace(&mut #ident, true) { return Err(crate::Error::SYNTAX); })
                } else if field.is_bool() {
                    quote!(#ident = true;)
                } else {
                    quote!(crate::grammar::Slot::fill(&mut #ident, parser, #how)?;)
                };
                arms.push(quote!(if parser.take_token(#token, #how) { #again #store continue; }));
            }
            None if field.is_option() => {
                let inner = quote!(<#ty as crate::grammar::Optional>::Inner);
                let differs = match whole.once {
                    true => quote!(true),
                    false => quote!(std::mem::discriminant(before) != std::mem::discriminant(&chosen)),
                };
                let again = field
                    .facts
                    .once
                    .as_ref()
                    .map(|text| quote!(if let Some(_) = &#ident { return Err(crate::Error::err(#text)); }));
                let refusal = (!field.facts.again_replaces).then(|| {
                    quote! {
                        if let Some(before) = &#ident
                            && { let _ = before; #differs } {
                            return Err(crate::Error::SYNTAX);
                        }
                    }
                });
                starts.push(quote!(<#inner as crate::grammar::Arg<'a>>::starts(word)));
                arms.push(quote! {
                    if <#inner as crate::grammar::Arg<'a>>::starts(word) {
                        #again
                        let chosen = <#inner as crate::grammar::Arg<'a>>::read(parser, #how)?;
                        #refusal
                        if let Some(replaced) = #ident.replace(chosen) {
                            crate::grammar::Arg::withdraw(replaced, parser);
                        }
                        continue;
                    }
                });
            }
            None => return Err(Error::new(ident.span(), "an option needs a token or an optional choice")),
        }
    }
    let check = whole.check();
    Ok(quote! {
        const KIND: crate::grammar::spec::ArgKind = crate::grammar::spec::ArgKind::AnyOrder(&[#(#specs),*]);
        const MIN: usize = 0;
        const FIXED: bool = false;
        const OPTIONAL: bool = true;
        fn starts(word: &[u8]) -> bool { false #(|| #starts)* }
        fn read(parser: &mut crate::grammar::Parser<'a, '_>, how: crate::grammar::How) -> crate::Result<Self> {
            #(let mut #idents: #types = Default::default();)*
            while let Some(word) = parser.peek(how.after) {
                let _ = &word;
                #(#arms)*
                break;
            }
            let value = Self { #(#idents),* };
            #check
            Ok(value)
        }
    })
}

/// Exactly one variant. One without a token is taken when its argument can begin with the word.
fn choice(variants: &[Variant]) -> Result<TokenStream> {
    let specs = specs(variants.iter().map(|v| (&v.facts, v.ty.as_ref())));
    let mut arms = Vec::new();
    let mut starts = Vec::new();
    let mut mins = Vec::new();
    let mut fixed = Vec::new();
    let mut withdrawals = Vec::new();
    for variant in variants {
        let ident = &variant.ident;
        withdrawals.push(match &variant.ty {
            None => quote!(Self::#ident => {}),
            Some(_) => quote!(Self::#ident(inner) => crate::grammar::Arg::withdraw(inner, parser),),
        });
        let how = variant.facts.how(quote!(how.after));
        match (&variant.facts.token, &variant.ty) {
            (Some(token), None) => {
                arms.push(quote!(if parser.take_token(#token, #how) { return Ok(Self::#ident); }));
                starts.push(quote!(word.eq_ignore_ascii_case(#token.as_bytes())));
                mins.push(quote!(1));
                fixed.push(quote!(true));
            }
            (Some(token), Some(ty)) => {
                arms.push(quote! {
                    if parser.take_token(#token, #how) {
                        return Ok(Self::#ident(<#ty as crate::grammar::Arg<'a>>::read(parser, #how)?));
                    }
                });
                starts.push(quote!(word.eq_ignore_ascii_case(#token.as_bytes())));
                mins.push(quote!(1 + <#ty as crate::grammar::Arg<'a>>::MIN));
                fixed.push(quote!(<#ty as crate::grammar::Arg<'a>>::FIXED));
            }
            (None, Some(ty)) => {
                arms.push(quote! {
                    if parser.peek(how.after).is_some_and(<#ty as crate::grammar::Arg<'a>>::starts) {
                        return Ok(Self::#ident(<#ty as crate::grammar::Arg<'a>>::read(parser, #how)?));
                    }
                });
                starts.push(quote!(<#ty as crate::grammar::Arg<'a>>::starts(word)));
                mins.push(quote!(<#ty as crate::grammar::Arg<'a>>::MIN));
                fixed.push(quote!(<#ty as crate::grammar::Arg<'a>>::FIXED));
            }
            (None, None) => return Err(Error::new(ident.span(), "a unit variant needs a token")),
        }
    }
    Ok(quote! {
        const KIND: crate::grammar::spec::ArgKind = crate::grammar::spec::ArgKind::OneOf(&[#(#specs),*]);
        const MIN: usize = crate::grammar::least(&[#(#mins),*]);
        const FIXED: bool = crate::grammar::all_equal(&[#(#mins),*]) #(&& #fixed)*;
        fn starts(word: &[u8]) -> bool { false #(|| #starts)* }
        fn read(parser: &mut crate::grammar::Parser<'a, '_>, how: crate::grammar::How) -> crate::Result<Self> {
            #(#arms)*
            Err(crate::Error::SYNTAX)
        }
        fn withdraw(self, parser: &mut crate::grammar::Parser<'a, '_>) {
            let _ = &parser;
            match self { #(#withdrawals)* }
        }
    })
}

/// The constants that describe the arguments, in order.
fn specs<'f>(items: impl Iterator<Item = (&'f Facts, Option<&'f Type>)>) -> Vec<TokenStream> {
    items
        .map(|(facts, ty)| {
            let (name, doc) = (&facts.name, &facts.doc);
            let token = facts.token.clone().unwrap_or_else(|| LitStr::new("", Span::call_site()));
            let (kind, optional, repeat) = match ty {
                None => (
                    quote!(crate::grammar::spec::ArgKind::Flag),
                    quote!(false),
                    quote!(crate::grammar::spec::Repeat::Once),
                ),
                Some(ty) => {
                    let kind = quote!(<#ty as crate::grammar::Arg<'a>>::KIND);
                    let kind = match &facts.access {
                        Some(access) => quote!(crate::grammar::with_access(#kind, #access)),
                        None => kind,
                    };
                    (
                        kind,
                        quote!(<#ty as crate::grammar::Arg<'a>>::OPTIONAL),
                        quote!(<#ty as crate::grammar::Arg<'a>>::REPEAT),
                    )
                }
            };
            quote! {
                crate::grammar::spec::ArgSpec {
                    name: #name, doc: #doc, token: #token, kind: #kind, optional: #optional, repeat: #repeat,
                }
            }
        })
        .collect()
}

struct Field {
    ident: syn::Ident,
    ty: Type,
    facts: Facts,
}

impl Field {
    fn read_all(fields: &Fields) -> Result<Vec<Field>> {
        match fields {
            Fields::Named(named) => named
                .named
                .iter()
                .map(|field| {
                    let ident = field.ident.clone().ok_or_else(|| Error::new_spanned(field, "a field needs a name"))?;
                    Ok(Field { facts: Facts::read(&field.attrs, &ident)?, ty: field.ty.clone(), ident })
                })
                .collect(),
            Fields::Unit => Ok(Vec::new()),
            Fields::Unnamed(_) => Err(Error::new_spanned(fields, "arguments need names")),
        }
    }

    /// Words that this field takes at the least.
    fn min(&self) -> TokenStream {
        let ty = &self.ty;
        let token = usize::from(self.facts.token.is_some() && !self.is_bool() && !self.is_option());
        quote!((#token + <#ty as crate::grammar::Arg<'a>>::MIN))
    }

    fn fixed(&self) -> TokenStream {
        let ty = &self.ty;
        quote!(<#ty as crate::grammar::Arg<'a>>::FIXED)
    }

    fn is_bool(&self) -> bool {
        last_segment(&self.ty).is_some_and(|name| name == "bool")
    }

    fn is_option(&self) -> bool {
        last_segment(&self.ty).is_some_and(|name| name == "Option")
    }
}

fn last_segment(ty: &Type) -> Option<String> {
    match ty {
        Type::Path(path) => path.path.segments.last().map(|s| s.ident.to_string()),
        _ => None,
    }
}

struct Variant {
    ident: syn::Ident,
    ty: Option<Type>,
    facts: Facts,
}

/// What attributes and doc comments say of a field or variant.
struct Facts {
    name: String,
    doc: String,
    token: Option<LitStr>,
    access: Option<TokenStream>,
    missing: Option<LitStr>,
    instead: Option<Path>,
    once: Option<LitStr>,
    uneven_is_syntax: bool,
    again_replaces: bool,
}

impl Facts {
    fn read(attrs: &[Attribute], ident: &syn::Ident) -> Result<Facts> {
        let mut facts = Facts {
            name: snake_case(&ident.to_string()),
            doc: doc_of(attrs),
            token: None,
            access: None,
            missing: None,
            instead: None,
            once: None,
            uneven_is_syntax: false,
            again_replaces: false,
        };
        for attr in attrs.iter().filter(|a| a.path().is_ident("arg")) {
            attr.parse_nested_meta(|meta| {
                if meta.path.is_ident("instead") {
                    facts.instead = Some(meta.value()?.parse()?);
                    return Ok(());
                }
                let value: LitStr = meta.value()?.parse()?;
                if meta.path.is_ident("token") {
                    facts.token = Some(value);
                } else if meta.path.is_ident("name") {
                    facts.name = value.value();
                } else if meta.path.is_ident("access") {
                    facts.access = Some(access(&value)?);
                } else if meta.path.is_ident("missing") {
                    facts.missing = Some(value);
                } else if meta.path.is_ident("once") {
                    facts.once = Some(value);
                } else if meta.path.is_ident("uneven") && value.value() == "syntax" {
                    facts.uneven_is_syntax = true;
                } else if meta.path.is_ident("again") && value.value() == "replaces" {
                    facts.again_replaces = true;
                } else {
                    return Err(meta.error("unknown attribute; see the derive's page"));
                }
                Ok(())
            })?;
        }
        Ok(facts)
    }

    fn how(&self, after: TokenStream) -> TokenStream {
        let access = self.access.clone().unwrap_or_else(|| quote!(how.access));
        let uneven = self.uneven_is_syntax;
        quote!(crate::grammar::How { after: #after, access: #access, uneven_is_syntax: #uneven })
    }
}

fn access(text: &LitStr) -> Result<TokenStream> {
    let mut flags = Vec::new();
    for word in text.value().split(' ') {
        let flag = match word {
            "RO" | "RW" | "OW" | "RM" | "access" | "update" | "insert" | "delete" => word.to_ascii_uppercase(),
            _ => return Err(Error::new(text.span(), "RO RW OW RM access update insert delete")),
        };
        let flag = syn::Ident::new(&flag, text.span());
        flags.push(quote!(crate::grammar::spec::Access::#flag));
    }
    Ok(quote!(crate::grammar::spec::Access(0) #(.and(#flags))*))
}

#[derive(Default)]
struct StructAttributes {
    any_order: bool,
    once: bool,
    excess_is_arity: bool,
    excess: Option<Path>,
    check: Option<Path>,
    access: Option<Path>,
}

impl StructAttributes {
    fn read(attrs: &[Attribute]) -> Result<StructAttributes> {
        let mut whole = StructAttributes::default();
        for attr in attrs.iter().filter(|a| a.path().is_ident("args")) {
            attr.parse_nested_meta(|meta| {
                if meta.path.is_ident("any_order") {
                    whole.any_order = true;
                } else if meta.path.is_ident("once") {
                    whole.once = true;
                } else if meta.path.is_ident("excess_is_arity") {
                    whole.excess_is_arity = true;
                } else if meta.path.is_ident("excess") {
                    whole.excess = Some(meta.value()?.parse()?);
                } else if meta.path.is_ident("check") {
                    whole.check = Some(meta.value()?.parse()?);
                } else if meta.path.is_ident("access") {
                    whole.access = Some(meta.value()?.parse()?);
                } else {
                    return Err(meta.error("any_order, once, excess, excess_is_arity, access or check"));
                }
                Ok(())
            })?;
        }
        Ok(whole)
    }

    fn check(&self) -> TokenStream {
        let refusal = match &self.excess {
            Some(path) => Some(quote!(#path(&value, parser.rest()))),
            None => self.excess_is_arity.then(|| quote!(crate::grammar::args::UNEVEN)),
        };
        let excess = refusal.map(|refusal| quote!(if parser.remaining() > how.after { return Err(#refusal); }));
        let check = self.check.as_ref().map(|path| quote!(#path(&value)?;));
        quote!(#excess #check)
    }
}

fn doc_of(attrs: &[Attribute]) -> String {
    let mut lines = Vec::new();
    for attr in attrs.iter().filter(|a| a.path().is_ident("doc")) {
        if let Meta::NameValue(pair) = &attr.meta
            && let Expr::Lit(lit) = &pair.value
            && let Lit::Str(text) = &lit.lit
        {
            lines.push(text.value().trim().to_string());
        }
    }
    lines.join(" ").trim().to_string()
}

fn snake_case(name: &str) -> String {
    let mut out = String::new();
    for (index, letter) in name.trim_start_matches("r#").chars().enumerate() {
        if letter.is_uppercase() && index > 0 {
            out.push('_');
        }
        out.extend(letter.to_lowercase());
    }
    out
}
