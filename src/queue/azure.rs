//! Messages in Azure Queue Storage, base64 encoded as the Functions host expects them (functions-host contract 5).
//! Queues are made when first missed.

use std::time::Duration;

use async_trait::async_trait;
use azure_storage_queues::{PopReceipt, QueueClient, QueueServiceClient, QueueServiceClientBuilder};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;

use super::{MAX_TEXT, Message, Peeked, QueueError, QueueName, Queues};
use crate::foundation::azure_account::{AzureAccount, failure};

#[derive(Debug)]
pub struct AzureQueues {
    service: QueueServiceClient,
}

impl AzureQueues {
    pub fn new(account: &AzureAccount) -> Self {
        let service = QueueServiceClientBuilder::with_location(account.queues(), account.credentials())
            .client_options(account.options())
            .build();
        Self { service }
    }

    fn queue(&self, queue: QueueName<'_>) -> QueueClient {
        self.service.queue_client(queue)
    }
}

fn translate(error: azure_core::Error) -> QueueError {
    match failure(&error) {
        // A stale receipt is 404 on Azure and 400 on Azurite.
        Some((400, "PopReceiptMismatch") | (404, "MessageNotFound")) => QueueError::Gone,
        _ => QueueError::Unavailable {
            message: "Azure Queue Storage did not do the call".into(),
            source: Some(Box::new(error)),
        },
    }
}

fn queue_is_missing(error: &azure_core::Error) -> bool {
    matches!(failure(error), Some((404, code)) if code != "MessageNotFound")
}

#[async_trait]
impl Queues for AzureQueues {
    async fn send(&self, queue: QueueName<'_>, text: &str, delay: Duration) -> Result<(), QueueError> {
        if text.len() > MAX_TEXT {
            return Err(QueueError::TooLarge(text.len()));
        }
        let client = self.queue(queue);
        let encoded = STANDARD.encode(text);
        match client.put_message(encoded.clone()).visibility_timeout(whole(delay)).await {
            Ok(_) => Ok(()),
            Err(error) if queue_is_missing(&error) => {
                // Somebody else may have made it in between; the second try tells.
                let _ = client.create().await;
                client.put_message(encoded).visibility_timeout(whole(delay)).await.map(drop).map_err(translate)
            }
            Err(error) => Err(translate(error)),
        }
    }

    async fn receive(&self, queue: QueueName<'_>, max: usize, hide: Duration) -> Result<Vec<Message>, QueueError> {
        let max = u8::try_from(max.clamp(1, 32)).unwrap_or(1);
        match self
            .queue(queue)
            .get_messages()
            .number_of_messages(max)
            .visibility_timeout(hide.max(Duration::from_secs(1)))
            .await
        {
            Ok(answer) => Ok(answer.messages.into_iter().map(received).collect()),
            Err(error) if queue_is_missing(&error) => Ok(Vec::new()),
            Err(error) => Err(translate(error)),
        }
    }

    async fn renew(&self, queue: QueueName<'_>, message: &Message, hide: Duration) -> Result<Message, QueueError> {
        let client = self.queue(queue).pop_receipt_client(receipt(message));
        let answer = client.update(STANDARD.encode(&message.text), whole(hide)).await.map_err(translate)?;
        Ok(Message { receipt: answer.pop_receipt, ..message.clone() })
    }

    async fn delete(&self, queue: QueueName<'_>, message: &Message) -> Result<(), QueueError> {
        self.queue(queue).pop_receipt_client(receipt(message)).delete().await.map(drop).map_err(translate)
    }

    async fn peek(&self, queue: QueueName<'_>, max: usize) -> Result<Vec<Peeked>, QueueError> {
        let max = u8::try_from(max.clamp(1, 32)).unwrap_or(1);
        match self.queue(queue).peek_messages().number_of_messages(max).await {
            Ok(answer) => {
                let peeked = answer.messages.into_iter().map(|message| Peeked {
                    id: message.message_id,
                    text: text(message.message_text),
                    // The service tells whole seconds.
                    inserted: Timestamp::from_second(message.insertion_time.unix_timestamp()).unwrap_or_default(),
                    dequeue_count: u32::try_from(message.dequeue_count).unwrap_or(u32::MAX),
                });
                Ok(peeked.collect())
            }
            Err(error) if queue_is_missing(&error) => Ok(Vec::new()),
            Err(error) => Err(translate(error)),
        }
    }

    async fn depth(&self, queue: QueueName<'_>) -> Result<usize, QueueError> {
        match self.queue(queue).get_metadata().await {
            Ok(answer) => Ok(answer.approximate_messages_count),
            Err(error) if queue_is_missing(&error) => Ok(0),
            Err(error) => Err(translate(error)),
        }
    }
}

fn receipt(message: &Message) -> PopReceipt {
    PopReceipt::new(message.id.clone(), message.receipt.clone())
}

/// Text that is not base64 was put there by hand, with another tool; it is passed on as it is.
fn text(encoded: String) -> String {
    let decoded = STANDARD.decode(encoded.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    decoded.unwrap_or(encoded)
}

fn received(message: azure_storage_queues::operations::Message) -> Message {
    Message {
        id: message.message_id,
        receipt: message.pop_receipt,
        text: text(message.message_text),
        dequeue_count: u32::try_from(message.dequeue_count).unwrap_or(u32::MAX),
    }
}

/// The service takes whole seconds; cut off, a message would come before its time.
fn whole(delay: Duration) -> Duration {
    Duration::from_secs(delay.as_secs() + u64::from(delay.subsec_nanos() > 0))
}
