//! Blobs in Azure Blob Storage, as block blobs. Containers are made when first missed.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use azure_core::request_options::{IfMatchCondition, MaxResults, Prefix};
use azure_storage::shared_access_signature::SasProtocol;
use azure_storage::shared_access_signature::service_sas::BlobSasPermissions;
use azure_storage_blobs::prelude::{
    BlobBlockType, BlobClient, BlobServiceClient, BlockList, ClientBuilder, ContainerClient,
};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use jiff::{SignedDuration, Timestamp};

use super::{Access, BlobError, BlobInfo, BlobWriter, Blobs, Condition, check_name};
use crate::foundation::azure_account::{AzureAccount, failure};
use crate::foundation::rng::Random;

/// Blocks that are not part of a blob yet belong to nobody: each writer's have a mark in front, so that two writers of one
/// name do not mix. Ids of one blob must have one length.
const MARK: usize = 16;
/// Links are valid from a little before now: clocks differ.
const SKEW: SignedDuration = SignedDuration::from_mins(5);

#[derive(Debug)]
pub struct AzureBlobs {
    service: BlobServiceClient,
    /// Whether links are signed with the account's key, or with one that Entra lends.
    has_key: bool,
    random: Arc<dyn Random>,
}

impl AzureBlobs {
    pub fn new(account: &AzureAccount, random: Arc<dyn Random>) -> Self {
        let service = ClientBuilder::with_location(account.blobs(), account.credentials())
            .client_options(account.options())
            .blob_service_client();
        Self { service, has_key: account.has_key(), random }
    }

    /// There may be none yet; somebody else may make it in between, and the next call tells.
    async fn ensure(&self, container: &str) -> Result<(), BlobError> {
        let container = self.container(container);
        if !container.exists().await.map_err(translate)? {
            let _ = container.create().await;
        }
        Ok(())
    }

    fn container(&self, container: &str) -> ContainerClient {
        self.service.container_client(container)
    }

    fn blob(&self, container: &str, name: &str) -> Result<BlobClient, BlobError> {
        check_name(container, name)?;
        Ok(self.container(container).blob_client(name))
    }
}

fn translate(error: azure_core::Error) -> BlobError {
    match failure(&error) {
        Some((409 | 412, _)) => BlobError::Precondition,
        _ => BlobError::Unavailable {
            message: "Azure Blob Storage did not do the call".into(),
            source: Some(Box::new(error)),
        },
    }
}

fn is_missing(error: &azure_core::Error) -> bool {
    matches!(failure(error), Some((404, _)))
}

async fn put_once(
    client: &BlobClient,
    content_type: &str,
    data: Bytes,
    condition: &Condition,
) -> azure_core::Result<String> {
    let put = client.put_block_blob(data).content_type(content_type.to_owned());
    let put = match condition {
        Condition::Always => put,
        Condition::Absent => put.if_match(IfMatchCondition::NotMatch("*".into())),
        Condition::Match(etag) => put.if_match(IfMatchCondition::Match(etag.clone())),
    };
    Ok(put.await?.etag)
}

/// Bytes of a block; a blob has at most 50,000 of them.
const BLOCK: usize = 8 * 1024 * 1024;

/// Blocks that Azure holds for a week and forgets when no list names them.
struct Writer {
    client: BlobClient,
    blob: BlobInfo,
    mark: String,
    blocks: Vec<BlobBlockType>,
    pieces: BytesMut,
}

impl Writer {
    async fn flush(&mut self) -> Result<(), BlobError> {
        if self.pieces.is_empty() {
            return Ok(());
        }
        let id = format!("{}{:08}", self.mark, self.blocks.len());
        self.client.put_block(id.clone(), self.pieces.split().freeze()).await.map_err(translate)?;
        self.blocks.push(BlobBlockType::new_uncommitted(id));
        Ok(())
    }
}

#[async_trait]
impl BlobWriter for Writer {
    async fn write(&mut self, piece: Bytes) -> Result<(), BlobError> {
        self.blob.length += piece.len() as u64;
        self.pieces.extend_from_slice(&piece);
        if self.pieces.len() >= BLOCK { self.flush().await } else { Ok(()) }
    }

    async fn finish(mut self: Box<Self>) -> Result<BlobInfo, BlobError> {
        self.flush().await?;
        let blocks = BlockList { blocks: std::mem::take(&mut self.blocks) };
        let listed = self.client.put_block_list(blocks).content_type(self.blob.content_type.clone());
        let answer = listed.await.map_err(translate)?;
        self.blob.etag = answer.etag;
        Ok(self.blob.clone())
    }
}

#[async_trait]
impl Blobs for AzureBlobs {
    async fn put(
        &self,
        container: &str,
        name: &str,
        content_type: &str,
        data: Bytes,
        condition: Condition,
    ) -> Result<String, BlobError> {
        let client = self.blob(container, name)?;
        match put_once(&client, content_type, data.clone(), &condition).await {
            Ok(etag) => Ok(etag),
            Err(error) if is_missing(&error) => {
                if matches!(condition, Condition::Match(_)) {
                    return Err(BlobError::Precondition);
                }
                // Somebody else may have made it in between; the second try tells.
                let _ = self.container(container).create().await;
                put_once(&client, content_type, data, &condition).await.map_err(translate)
            }
            Err(error) => Err(translate(error)),
        }
    }

    async fn create(&self, container: &str, name: &str, content_type: &str) -> Result<Box<dyn BlobWriter>, BlobError> {
        let client = self.blob(container, name)?;
        self.ensure(container).await?;
        let blob = BlobInfo { name: name.into(), length: 0, content_type: content_type.into(), etag: String::new() };
        let mark = self.random.token().chars().take(MARK).collect();
        Ok(Box::new(Writer { client, blob, mark, blocks: Vec::new(), pieces: BytesMut::new() }))
    }

    async fn info(&self, container: &str, name: &str) -> Result<Option<BlobInfo>, BlobError> {
        match self.blob(container, name)?.get_properties().await {
            Ok(answer) => Ok(Some(info(answer.blob))),
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(translate(error)),
        }
    }

    async fn get(&self, container: &str, name: &str, range: Range<u64>) -> Result<Option<Bytes>, BlobError> {
        let Some(info) = self.info(container, name).await? else { return Ok(None) };
        let range = range.start.min(info.length)..range.end.min(info.length);
        if range.is_empty() {
            return Ok(Some(Bytes::new()));
        }
        let mut parts = self.blob(container, name)?.get().range(range).into_stream();
        let mut bytes = Vec::new();
        while let Some(part) = parts.next().await {
            bytes.extend_from_slice(&part.map_err(translate)?.data.collect().await.map_err(translate)?);
        }
        Ok(Some(bytes.into()))
    }

    async fn delete(&self, container: &str, name: &str) -> Result<(), BlobError> {
        match self.blob(container, name)?.delete().await {
            Ok(_) => Ok(()),
            Err(error) if is_missing(&error) => Ok(()),
            Err(error) => Err(translate(error)),
        }
    }

    async fn link(
        &self,
        container: &str,
        name: &str,
        access: Access,
        from: Timestamp,
        until: Timestamp,
    ) -> Result<Option<String>, BlobError> {
        let client = self.blob(container, name)?;
        let permissions = match access {
            Access::Read => BlobSasPermissions { read: true, ..BlobSasPermissions::default() },
            Access::Create => {
                self.ensure(container).await?;
                BlobSasPermissions { create: true, write: true, ..BlobSasPermissions::default() }
            }
        };
        let date = |at: Timestamp| azure_core::date::parse_rfc3339(&at.to_string()).map_err(translate);
        let (from, until) = (date(from - SKEW)?, date(until)?);
        let signature = if self.has_key {
            client.shared_access_signature(permissions, until).await
        } else {
            let lent = self.service.get_user_deligation_key(from, until).await.map_err(translate)?;
            client.user_delegation_shared_access_signature(permissions, &lent.user_deligation_key).await
        };
        let mut signature = signature.map_err(translate)?.start(from);
        if client.url().is_ok_and(|url| url.scheme() == "https") {
            signature = signature.protocol(SasProtocol::Https);
        }
        Ok(Some(client.generate_signed_blob_url(&signature).map_err(translate)?.into()))
    }

    async fn list(&self, container: &str, prefix: &str, after: &str, limit: usize) -> Result<Vec<BlobInfo>, BlobError> {
        // Azure lists from a marker of its own and not from a name, so names up to `after` are passed over.
        let mut request = self
            .container(container)
            .list_blobs()
            .max_results(MaxResults::new(std::num::NonZeroU32::MIN.saturating_add(999)));
        if !prefix.is_empty() {
            request = request.prefix(Prefix::from(prefix.to_owned()));
        }
        let mut pages = request.into_stream();
        let mut found = Vec::new();
        while found.len() < limit
            && let Some(page) = pages.next().await
        {
            match page {
                Ok(page) => {
                    found.extend(page.blobs.blobs().filter(|blob| blob.name.as_str() > after).cloned().map(info))
                }
                Err(error) if is_missing(&error) => break,
                Err(error) => return Err(translate(error)),
            }
        }
        found.truncate(limit);
        Ok(found)
    }
}

fn info(blob: azure_storage_blobs::prelude::Blob) -> BlobInfo {
    BlobInfo {
        name: blob.name,
        length: blob.properties.content_length,
        content_type: blob.properties.content_type,
        // Listings give it without quotation marks, properties with them.
        etag: format!("\"{}\"", blob.properties.etag.to_string().trim_matches('"')),
    }
}
