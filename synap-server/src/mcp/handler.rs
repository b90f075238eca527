//! What the SDK asks of us.

use std::borrow::Cow;
use std::sync::Arc;

use hyper::http::request::Parts;
use rmcp::ErrorData;
use rmcp::RoleServer;
use rmcp::handler::server::ServerHandler;
use rmcp::model::{
    CacheScope, CallToolRequestParams, CallToolResponse, CallToolResult, CompleteRequestParams, CompleteResult,
    CompletionInfo, ContentBlock, Extensions, Implementation, ListResourceTemplatesResult, ListResourcesResult,
    ListToolsResult, MetaObject, PaginatedRequestParams, ReadResourceRequestParams, ReadResourceResponse,
    ReadResourceResult, Reference, Resource, ResourceContents, ResourceTemplate, ServerCapabilities, ServerConfig,
    Tool, ToolAnnotations,
};
use rmcp::service::RequestContext;
use serde_json::{Value, json};
use synap_core::{Code, Error};
use synap_protocols::json::Words;
use synap_protocols::mcp::resource::{self, Resource as Address};
use synap_protocols::mcp::tools::{self, Refusal};
use synap_protocols::mcp::{INSTRUCTIONS, answer};

use super::{Agents, Caller, House};

/// Tools of one page.
const PAGE: usize = 50;
/// Names that a completion suggests at the most, and rounds of SCAN that it looks for them.
const SUGGESTION_COUNT_MAX: usize = CompletionInfo::MAX_VALUES;
const SCAN_ROUNDS_MAX: usize = 20;
const SCAN_COUNT: &[u8] = b"500";
/// The key under which metadata of results tell what is missing.
const CUT_META: &str = "synap/cut";

impl ServerHandler for Agents {
    fn get_info(&self) -> ServerConfig {
        // There are no prompts, and the SDK says so to whoever asks: what is answered must be announced.
        let capabilities = ServerCapabilities::builder()
            .enable_tools()
            .enable_resources()
            .enable_completions()
            .enable_prompts()
            .build();
        let us = Implementation::new("synap", env!("CARGO_PKG_VERSION")).with_title("Synap");
        ServerConfig::new(capabilities).with_server_info(us).with_instructions(INSTRUCTIONS)
    }

    async fn list_tools(
        &self,
        request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let caller = caller(&context.extensions)?;
        let start = match request.and_then(|request| request.cursor) {
            Some(cursor) => cursor.parse().map_err(|_| ErrorData::invalid_params("there is no such cursor", None))?,
            None => 0,
        };
        let mut rest = self.0.tools.of_user(&caller.user).skip(start);
        let page: Vec<Tool> = rest.by_ref().take(PAGE).map(describe).collect();
        let mut result = ListToolsResult::with_all_items(page).with_ttl_ms(0).with_cache_scope(CacheScope::Private);
        result.next_cursor = rest.next().map(|_| (start + PAGE).to_string());
        Ok(result)
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let caller = caller(&context.extensions)?;
        let arguments = match (&caller.arguments, request.arguments) {
            (Some(text), _) => text.clone(),
            (None, Some(arguments)) => Value::Object(arguments).to_string().into(),
            (None, None) => Arc::from("{}"),
        };
        let result = tokio::select! {
            biased;
            // Whoever asked is gone, or has changed their mind: nothing is taken for them any more.
            () = context.ct.cancelled() => return Err(ErrorData::internal_error("the call was cancelled", None)),
            result = self.0.call_tool(&caller, &request.name, &arguments) => result?,
        };
        Ok(result.into())
    }

    async fn list_resources(
        &self,
        _: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        let caller = caller(&context.extensions)?;
        let resources = self.0.sections(&caller).await.into_iter().map(|section| {
            Resource::new(resource::info(&section), format!("info/{section}"))
                .with_description(format!("The chapter {section} of INFO: lines of name:value."))
                .with_mime_type("text/plain")
        });
        let result = ListResourcesResult::with_all_items(resources.collect());
        Ok(result.with_ttl_ms(0).with_cache_scope(CacheScope::Private))
    }

    async fn list_resource_templates(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        let key = ResourceTemplate::new(resource::KEY_TEMPLATE, "key")
            .with_title("A key")
            .with_description("The value of a key: a string as it is, a collection as JSON.");
        let info = ResourceTemplate::new(resource::INFO_TEMPLATE, "info")
            .with_title("A chapter of INFO")
            .with_description("What the server says of itself: server, memory, keyspace …")
            .with_mime_type("text/plain");
        let result = ListResourceTemplatesResult::with_all_items(vec![key, info]);
        Ok(result.with_ttl_ms(0).with_cache_scope(CacheScope::Private))
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        let caller = caller(&context.extensions)?;
        let contents = match resource::parse(&request.uri) {
            Some(Address::Key(key)) => self.0.read_key(&caller, &key, &request.uri).await?,
            Some(Address::Info(section)) => self.0.read_info(&caller, &section, &request.uri).await?,
            None => None,
        };
        let not_found =
            || ErrorData::resource_not_found("there is no such resource", Some(json!({"uri": request.uri})));
        let result = ReadResourceResult::new(vec![contents.ok_or_else(not_found)?]);
        Ok(result.with_ttl_ms(0).with_cache_scope(CacheScope::Private).into())
    }

    async fn complete(
        &self,
        request: CompleteRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CompleteResult, ErrorData> {
        let caller = caller(&context.extensions)?;
        let beginning = &request.argument.value;
        let (mut values, has_more) = match (&request.r#ref, request.argument.name.as_str()) {
            (Reference::Resource(template), "key") if template.uri == resource::KEY_TEMPLATE => {
                self.0.keys(&caller, beginning).await
            }
            (Reference::Resource(template), "section") if template.uri == resource::INFO_TEMPLATE => {
                let mut sections = self.0.sections(&caller).await;
                sections.retain(|section| section.starts_with(beginning.as_str()));
                (sections, false)
            }
            _ => return Err(ErrorData::invalid_params("there is no such template or argument", None)),
        };
        values.truncate(SUGGESTION_COUNT_MAX);
        let completion = CompletionInfo::with_pagination(values, None, has_more);
        completion.map(CompleteResult::new).map_err(|why| ErrorData::internal_error(why, None))
    }
}

impl House {
    /// Errors of the call are results that the agent reads; an unknown tool is an error of the request.
    async fn call_tool(&self, caller: &Caller, name: &str, arguments: &str) -> Result<CallToolResult, ErrorData> {
        let told = |sentence: String| Ok(CallToolResult::error(vec![ContentBlock::text(sentence)]));
        let call = match self.tools.call(name, arguments, &caller.user) {
            Ok(call) => call,
            Err(Refusal::Error(sentence)) => return told(sentence),
            Err(Refusal::NoSuchTool) => {
                let name = Error::quote(name.as_bytes());
                return Err(ErrorData::invalid_params(format!("there is no tool {name}"), None));
            }
        };
        let text = match self.call(caller, call.operation, &call.words).await {
            Ok(text) => text,
            Err(error) => return told(error.to_string()),
        };
        let structured = serde_json::from_str(&text).map_err(internal)?;
        let mut result = CallToolResult::success(vec![ContentBlock::text(text)]);
        result.structured_content = Some(structured);
        Ok(result)
    }

    /// The answer to a call that the door makes for a resource; none where it is not offered.
    async fn ask(&self, caller: &Caller, op: &str, words: &[&[u8]]) -> Result<Option<Value>, ErrorData> {
        let Some(operation) = self.tools.operation(op, &caller.user) else { return Ok(None) };
        let name: Vec<&str> = operation.row.name.split(' ').collect();
        let mut call = Words::named(&name);
        words.iter().try_for_each(|word| call.push(word)).map_err(refused)?;
        let text = self.call(caller, operation, &call).await.map_err(refused)?;
        serde_json::from_str(&text).map(Some).map_err(internal)
    }

    async fn read_key(&self, caller: &Caller, key: &[u8], uri: &str) -> Result<Option<ResourceContents>, ErrorData> {
        let kind = self.ask(caller, "key.type", &[key]).await?;
        let kind = kind.as_ref().and_then(|answer| answer["type"].as_str()).unwrap_or_default();
        let Some((_, op, words)) = resource::READERS.iter().find(|(name, ..)| *name == kind) else { return Ok(None) };
        let mut call = vec![key];
        call.extend(words.iter().map(|word| word.as_bytes()));
        let Some(mut value) = self.ask(caller, op, &call).await? else { return Ok(None) };
        let cut = value.as_object_mut().and_then(|members| members.remove(answer::CUT));
        let contents = match (kind, &value["value"]) {
            ("string", Value::Null) => return Ok(None), // it went meanwhile
            ("string", Value::String(text)) => ResourceContents::text(text.as_str(), uri).with_mime_type("text/plain"),
            ("string", bytes) => {
                let blob = bytes["base64"].as_str().unwrap_or_default();
                ResourceContents::blob(blob, uri).with_mime_type("application/octet-stream")
            }
            _ => ResourceContents::text(value.to_string(), uri).with_mime_type("application/json"),
        };
        Ok(Some(with_note(contents, cut)))
    }

    async fn read_info(
        &self,
        caller: &Caller,
        section: &[u8],
        uri: &str,
    ) -> Result<Option<ResourceContents>, ErrorData> {
        let answer = self.ask(caller, "server.info", &[section]).await?;
        let Some(mut answer) = answer else { return Ok(None) };
        let cut = answer.as_object_mut().and_then(|members| members.remove(answer::CUT));
        let text = answer["info"].as_str().unwrap_or_default();
        let contents = ResourceContents::text(text, uri).with_mime_type("text/plain");
        Ok((!text.trim().is_empty()).then(|| with_note(contents, cut)))
    }

    /// The chapters of INFO, as their headings name them.
    async fn sections(&self, caller: &Caller) -> Vec<String> {
        let answer = self.ask(caller, "server.info", &[]).await;
        let Ok(Some(answer)) = answer else { return Vec::new() };
        let lines = answer["info"].as_str().unwrap_or_default().lines();
        lines.filter_map(|line| line.strip_prefix("# ")).map(|title| title.trim().to_ascii_lowercase()).collect()
    }

    /// Names of keys that begin so, and whether there may be more of them.
    async fn keys(&self, caller: &Caller, beginning: &str) -> (Vec<String>, bool) {
        let pattern = resource::pattern(beginning);
        let mut found: Vec<String> = Vec::new();
        let mut cursor = "0".to_string();
        for _ in 0..SCAN_ROUNDS_MAX {
            let words = [cursor.as_bytes(), b"MATCH", &pattern, b"COUNT", SCAN_COUNT];
            let Ok(Some(mut answer)) = self.ask(caller, "key.scan", &words).await else { break };
            if let Value::Array(keys) = answer["keys"].take() {
                // What is no text cannot be suggested.
                found.extend(keys.into_iter().filter_map(|key| key.as_str().map(str::to_string)));
            }
            cursor = answer["cursor"].as_str().unwrap_or("0").to_string();
            if cursor == "0" || found.len() > SUGGESTION_COUNT_MAX {
                break;
            }
        }
        found.sort();
        found.dedup();
        let has_more = cursor != "0" || found.len() > SUGGESTION_COUNT_MAX;
        (found, has_more)
    }
}

fn describe(tool: &tools::Tool) -> Tool {
    let hints = tool.hints;
    let annotations = ToolAnnotations::with_title(tool.title.clone())
        .read_only(hints.reads_only)
        .destructive(hints.is_destructive)
        .idempotent(hints.is_idempotent)
        .open_world(false);
    let name: Cow<'static, str> = tool.name.clone().into();
    Tool::new(name, tool.description.clone(), tool.input.clone())
        .with_title(tool.title.clone())
        .with_raw_output_schema(Arc::new(tool.output.clone()))
        .with_annotations(annotations)
}

/// Who asks: beside the message, or in the head of the HTTP request that brought it.
fn caller(extensions: &Extensions) -> Result<Caller, ErrorData> {
    let of_http = || extensions.get::<Parts>().and_then(|parts| parts.extensions.get::<Caller>());
    let found = extensions.get::<Caller>().or_else(of_http).cloned();
    found.ok_or_else(|| ErrorData::internal_error("nobody knows who asks", None))
}

fn with_note(contents: ResourceContents, cut: Option<Value>) -> ResourceContents {
    let Some(cut) = cut else { return contents };
    let mut meta = MetaObject::default();
    meta.0.insert(CUT_META.to_string(), cut);
    contents.with_meta(meta)
}

/// An error of a call that has no result to be told in.
fn refused(error: Error) -> ErrorData {
    let data = Some(json!({"code": error.code.word()}));
    match error.code {
        Code::Internal => ErrorData::internal_error(error.text, data),
        _ => ErrorData::invalid_params(error.to_string(), data),
    }
}

fn internal(error: serde_json::Error) -> ErrorData {
    ErrorData::internal_error(error.to_string(), None)
}
