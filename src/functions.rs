//! The function table: the name of each folder under `functions/` → the handler that serves it, and who may reach it.
//! Routes, methods, queues and schedules stand in the folder's `function.json` and nowhere else.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::app::App;
use crate::foundation::problem::{JobError, Problem};
use crate::foundation::web::{Form, Incoming, Request, Response};
use crate::identity::{ApiKey, Customer, ManagedAppCaller, MarketplaceCaller, Publisher, Role, Staff, Upload};
use crate::leads::LeadAddress;
use crate::{
    ai, analytics, callbacks, customers, fulfillment, health, identity, leads, managed_apps, media, metering, pages,
    portal, privacy, staff,
};

pub type Answer = Pin<Box<dyn Future<Output = Result<Response, Problem>> + Send>>;
pub type Done = Pin<Box<dyn Future<Output = Result<(), JobError>> + Send>>;

/// How a function is served. What stands before the handler decides who reaches it; the handler's signature repeats
/// it, so neither can be forgotten.
#[derive(Clone, Copy)]
pub enum Handler {
    /// Anybody.
    Open(fn(Arc<App>, Request) -> Answer),
    /// Somebody signed in.
    Customer(fn(Arc<App>, Request, Customer) -> Answer),
    /// Somebody signed in, with a form of ours.
    CustomerForm(fn(Arc<App>, Request, Customer, Form) -> Answer),
    /// Somebody signed in, by the script of a page of ours; the body may be anything.
    CustomerCall(fn(Arc<App>, Request, Customer) -> Answer),
    /// Somebody signed in, with files in a form of ours that is read as it comes.
    CustomerUpload(fn(Arc<App>, Request, Customer, Upload) -> Answer),
    /// Staff with at least this role.
    Staff(Role, fn(Arc<App>, Request, Staff) -> Answer),
    /// Staff with at least this role, with a form of ours.
    StaffForm(Role, fn(Arc<App>, Request, Staff, Form) -> Answer),
    /// A program of a customer, proven by its API key.
    Key(fn(Arc<App>, Request, ApiKey) -> Answer),
    /// The same, with a body that is read as it comes.
    KeyUpload(fn(Arc<App>, Request, ApiKey, Incoming) -> Answer),
    /// One of the publisher's own systems, proven by its key.
    Publisher(fn(Arc<App>, Request, Publisher) -> Answer),
    /// Azure, telling of managed applications; proven by the secret of the address.
    ManagedApp(fn(Arc<App>, Request, ManagedAppCaller) -> Answer),
    /// Microsoft's marketplace service, proven by its token.
    Marketplace(fn(Arc<App>, Request, MarketplaceCaller) -> Answer),
    /// Whoever knows the address of an offer's leads.
    Lead(fn(Arc<App>, Request, LeadAddress) -> Answer),
    /// The text of a queue message.
    Queue(fn(Arc<App>, String) -> Done),
    Timer(fn(Arc<App>) -> Done),
}

macro_rules! http {
    ($kind:ident, $handler:path) => {
        Handler::$kind(|app, request| Box::pin($handler(app, request)))
    };
}
macro_rules! with {
    ($kind:ident, $handler:path) => {
        Handler::$kind(|app, request, who| Box::pin($handler(app, request, who)))
    };
    ($kind:ident, $role:ident, $handler:path) => {
        Handler::$kind(Role::$role, |app, request, who| Box::pin($handler(app, request, who)))
    };
}
macro_rules! upload {
    ($kind:ident, $handler:path) => {
        Handler::$kind(|app, request, who, body| Box::pin($handler(app, request, who, body)))
    };
}
macro_rules! form {
    ($handler:path) => {
        Handler::CustomerForm(|app, request, who, form| Box::pin($handler(app, request, who, form)))
    };
    ($role:ident, $handler:path) => {
        Handler::StaffForm(Role::$role, |app, request, who, form| Box::pin($handler(app, request, who, form)))
    };
}

pub const TABLE: &[(&str, Handler)] = &[
    // Anybody.
    ("ProductPage", http!(Open, portal::product::product)),
    ("Docs", http!(Open, portal::product::docs)),
    ("OpenApiDocument", http!(Open, portal::product::openapi)),
    ("Asset", http!(Open, pages::handlers::asset)),
    ("ChooseLanguage", http!(Open, pages::handlers::choose_language)),
    ("HealthLive", http!(Open, health::live)),
    ("HealthReady", http!(Open, health::ready)),
    ("SignIn", http!(Open, identity::handlers::sign_in)),
    ("SignInCallback", http!(Open, identity::handlers::callback)),
    ("LinkedFile", http!(Open, media::handlers::linked)),
    ("SignOut", form!(identity::handlers::sign_out)),
    // Buyers and customers.
    ("Landing", http!(Open, portal::landing::landing)),
    ("ConfirmLanding", form!(portal::landing::confirm)),
    ("Portal", with!(Customer, portal::subscriptions::list)),
    ("PortalSubscription", with!(Customer, portal::subscriptions::one)),
    ("ChangePlan", form!(portal::subscriptions::change_plan)),
    ("ChangeQuantity", form!(portal::subscriptions::change_quantity)),
    ("CancelSubscription", form!(portal::subscriptions::cancel)),
    ("PortalKeys", with!(Customer, portal::keys::list)),
    ("PortalCaptures", with!(Customer, portal::captures::list)),
    ("PortalCapture", with!(Customer, portal::captures::one)),
    ("CaptureKey", form!(portal::captures::switch)),
    ("ClearCaptures", form!(portal::captures::clear)),
    ("CreateKey", form!(portal::keys::create)),
    ("RevokeKey", form!(portal::keys::revoke)),
    ("RotateKey", form!(portal::keys::rotate)),
    ("PortalCallbacks", with!(Customer, portal::callbacks::list)),
    ("CreateCallback", form!(portal::callbacks::create)),
    ("PortalCallback", with!(Customer, portal::callbacks::one)),
    ("ActOnCallback", form!(portal::callbacks::act)),
    ("PortalBudgets", with!(Customer, portal::budgets::list)),
    ("SetBudget", form!(portal::budgets::set)),
    ("RemoveBudget", form!(portal::budgets::remove)),
    ("Playground", with!(Customer, portal::playground::show)),
    ("PlaygroundPrice", with!(Customer, portal::playground::price)),
    ("PlaygroundChat", with!(CustomerCall, portal::playground::chat)),
    ("PlaygroundTranscribe", with!(CustomerCall, portal::playground::transcribe)),
    ("PlaygroundSpeak", with!(CustomerCall, portal::playground::speak)),
    ("PlaygroundAnalyze", with!(CustomerCall, portal::playground::analyze)),
    ("PortalFiles", with!(Customer, portal::files::list)),
    ("UploadFiles", upload!(CustomerUpload, portal::files::upload)),
    ("PortalFileContent", with!(Customer, portal::files::content)),
    ("RemoveFile", form!(portal::files::remove)),
    ("PortalJobs", with!(Customer, portal::jobs::list)),
    ("StartJob", form!(portal::jobs::start)),
    ("PortalJob", with!(Customer, portal::job::one)),
    ("PortalJobEvents", with!(Customer, portal::job::events)),
    ("PortalJobItem", with!(Customer, portal::item::show)),
    ("StopJob", form!(portal::job::cancel)),
    ("RemoveJob", form!(portal::job::remove)),
    // The publisher's staff.
    ("StaffHome", with!(Staff, Reader, staff::subscriptions::home)),
    ("StaffSubscriptions", with!(Staff, Reader, staff::subscriptions::list)),
    ("StaffSubscriptionsCsv", with!(Staff, Reader, staff::subscriptions::csv)),
    ("StaffSubscription", with!(Staff, Reader, staff::subscriptions::one)),
    ("StaffSyncSubscription", form!(Operator, staff::subscriptions::sync)),
    ("StaffWebhooks", with!(Staff, Reader, staff::webhooks::log)),
    ("StaffUsage", with!(Staff, Reader, staff::usage::overview::overview)),
    ("StaffUsageResource", with!(Staff, Reader, staff::usage::resource::one)),
    ("StaffUsageEventsCsv", with!(Staff, Reader, staff::usage::download::events)),
    ("StaffUsageRecordsCsv", with!(Staff, Reader, staff::usage::download::records)),
    ("StaffUsageLosses", with!(Staff, Reader, staff::usage::reports::losses)),
    ("StaffUsageDifferences", with!(Staff, Reader, staff::usage::reports::differences)),
    ("StaffUsageCatalogue", with!(Staff, Reader, staff::usage::reports::catalogue)),
    ("StaffUsageImport", with!(Staff, Operator, staff::usage::import::form)),
    ("StaffImportUsage", form!(Operator, staff::usage::import::import)),
    ("StaffRecordUsage", form!(Operator, staff::usage::actions::record)),
    ("StaffResendUsage", form!(Operator, staff::usage::actions::resend)),
    ("StaffWriteOffUsage", form!(Operator, staff::usage::actions::write_off)),
    ("StaffReconciliation", with!(Staff, Reader, staff::reconciliation::show)),
    ("StaffReconcileNow", form!(Operator, staff::reconciliation::run)),
    ("StaffMarkDifference", form!(Operator, staff::reconciliation::mark)),
    ("StaffFunnel", with!(Staff, Reader, staff::reconciliation::funnel)),
    ("StaffCloses", with!(Staff, Reader, staff::closes::list)),
    ("StaffCloseMonth", form!(Operator, staff::closes::close)),
    ("StaffClosePackage", with!(Staff, Reader, staff::closes::download)),
    ("StaffAi", with!(Staff, Reader, staff::ai::overview)),
    ("StaffStopAi", form!(Operator, staff::ai::stop)),
    ("StaffResumeAi", form!(Operator, staff::ai::resume)),
    ("StaffCallbacks", with!(Staff, Reader, staff::callbacks::list)),
    ("StaffCreateCallback", form!(Operator, staff::callbacks::create)),
    ("StaffCallback", with!(Staff, Reader, staff::callbacks::one)),
    ("StaffActOnCallback", form!(Operator, staff::callbacks::act)),
    ("StaffPrivacy", with!(Staff, Reader, staff::privacy::show)),
    ("StaffFindPerson", form!(Admin, staff::privacy::find)),
    ("StaffExportPerson", form!(Admin, staff::privacy::export)),
    ("StaffErasePerson", form!(Admin, staff::privacy::erase)),
    ("StaffCustomers", with!(Staff, Reader, staff::customers::list)),
    ("StaffCustomer", with!(Staff, Reader, staff::customers::one)),
    ("StaffAssignManagedApp", form!(Operator, staff::managed_apps::assign)),
    ("StaffManagedApps", with!(Staff, Reader, staff::managed_apps::list)),
    ("StaffManagedApp", with!(Staff, Reader, staff::managed_apps::one)),
    ("StaffLookAtManagedApp", form!(Operator, staff::managed_apps::look)),
    ("StaffTestManagedApps", form!(Operator, staff::managed_apps::test)),
    ("StaffLeads", with!(Staff, Reader, staff::leads::inbox::list)),
    ("StaffLeadsCsv", with!(Staff, Reader, staff::leads::inbox::csv)),
    ("StaffLead", with!(Staff, Reader, staff::leads::one::one)),
    ("StaffActOnLead", form!(Operator, staff::leads::one::act)),
    ("StaffLeadAddresses", with!(Staff, Reader, staff::leads::addresses::list)),
    ("StaffCreateLeadAddress", form!(Operator, staff::leads::addresses::create)),
    ("StaffActOnLeadAddress", form!(Operator, staff::leads::addresses::act)),
    ("StaffAnalytics", with!(Staff, Reader, staff::analytics::overview::overview)),
    ("StaffAnalyticsSubject", with!(Staff, Reader, staff::analytics::subject::one)),
    ("StaffAnalyticsData", with!(Staff, Reader, staff::analytics::data::show)),
    ("StaffAnalyticsCsv", with!(Staff, Reader, staff::analytics::data::csv)),
    ("StaffQuestions", with!(Staff, Reader, staff::analytics::questions::show)),
    ("StaffAnswerCsv", with!(Staff, Reader, staff::analytics::questions::csv)),
    ("StaffSaveQuestion", form!(Operator, staff::analytics::questions::save)),
    ("StaffActOnQuestion", form!(Operator, staff::analytics::questions::act)),
    ("StaffExecutions", with!(Staff, Reader, staff::analytics::executions::list)),
    ("StaffExecutionFile", with!(Staff, Operator, staff::analytics::executions::file)),
    ("StaffReleaseExecution", form!(Operator, staff::analytics::executions::release)),
    ("StaffQueues", with!(Staff, Reader, staff::queues::overview)),
    ("StaffReplayMessage", form!(Operator, staff::queues::replay)),
    ("StaffReplayMessages", form!(Operator, staff::queues::replay_all)),
    ("StaffResubmitJob", form!(Operator, staff::queues::resubmit)),
    ("StaffRemoveMessage", form!(Operator, staff::queues::remove)),
    // Customers' programs.
    ("ChatCompletions", with!(Key, ai::handlers::chat)),
    ("Embeddings", with!(Key, ai::handlers::embeddings)),
    ("Responses", with!(Key, ai::handlers::responses)),
    ("Images", with!(Key, ai::handlers::images)),
    ("Transcriptions", with!(Key, ai::handlers::transcriptions)),
    ("Translations", with!(Key, ai::handlers::translations)),
    ("Speech", with!(Key, ai::handlers::speech)),
    ("Vision", with!(Key, ai::handlers::analyze)),
    ("MintToken", with!(Key, ai::handlers::mint)),
    ("CreateFile", upload!(KeyUpload, media::handlers::create_file)),
    ("CreateUpload", with!(Key, media::handlers::create_upload)),
    ("CompleteUpload", with!(Key, media::handlers::complete_upload)),
    ("Files", with!(Key, media::handlers::files)),
    ("File", with!(Key, media::handlers::file)),
    ("FileContent", with!(Key, media::handlers::content)),
    ("DeleteFile", with!(Key, media::handlers::delete_file)),
    ("CreateMediaJob", with!(Key, media::handlers::create_job)),
    ("MediaJobs", with!(Key, media::handlers::jobs)),
    ("MediaJob", with!(Key, media::handlers::job)),
    ("MediaJobItems", with!(Key, media::handlers::items)),
    ("CancelMediaJob", with!(Key, media::handlers::cancel_job)),
    ("ResubmitMediaJob", with!(Key, media::handlers::resubmit_job)),
    ("DeleteMediaJob", with!(Key, media::handlers::delete_job)),
    ("Models", with!(Key, ai::handlers::models)),
    ("Model", with!(Key, ai::handlers::model)),
    // The publisher's own systems.
    ("RecordUsage", with!(Publisher, metering::handlers::record_usage)),
    ("RecordUsageCsv", with!(Publisher, metering::handlers::record_csv)),
    ("UsageStatus", with!(Publisher, metering::handlers::status)),
    ("UsageOfResource", with!(Publisher, metering::handlers::resource_usage)),
    ("UsageLosses", with!(Publisher, metering::handlers::losses)),
    ("UsageDifferences", with!(Publisher, metering::handlers::differences)),
    ("SubmitUsageNow", with!(Publisher, metering::handlers::submit_now)),
    ("ReadBackUsageNow", with!(Publisher, metering::handlers::read_back_now)),
    ("RegisterManagedApp", with!(Publisher, metering::handlers::register_managed_app)),
    ("Leads", with!(Publisher, leads::handlers::list)),
    ("Customers", with!(Publisher, customers::handlers::list)),
    ("OneCustomer", with!(Publisher, customers::handlers::one)),
    ("Analytics", with!(Publisher, analytics::handlers::rest::list)),
    ("AnalyticsQuery", with!(Publisher, analytics::handlers::rest::query)),
    ("AnalyticsQueries", with!(Publisher, analytics::handlers::runs::queries)),
    ("AnalyticsRuns", with!(Publisher, analytics::handlers::runs::list)),
    ("StartAnalyticsRun", with!(Publisher, analytics::handlers::runs::start)),
    ("AnalyticsRun", with!(Publisher, analytics::handlers::runs::one)),
    ("AnalyticsRunFile", with!(Publisher, analytics::handlers::runs::file)),
    ("AnalyticsRows", with!(Publisher, analytics::handlers::rest::rows)),
    ("OneLead", with!(Publisher, leads::handlers::one)),
    ("Reconciliation", with!(Publisher, analytics::finance::handlers::reconciliation)),
    ("ReconcileNow", with!(Publisher, analytics::finance::handlers::reconcile)),
    ("Closes", with!(Publisher, analytics::finance::handlers::list)),
    ("CloseMonth", with!(Publisher, analytics::finance::handlers::create)),
    ("ClosePackage", with!(Publisher, analytics::finance::handlers::download)),
    ("Funnel", with!(Publisher, analytics::finance::handlers::funnel_of)),
    // Microsoft.
    ("ReceiveLead", with!(Lead, leads::handlers::receive)),
    ("Webhook", with!(Marketplace, fulfillment::handlers::webhook)),
    ("ReportReady", http!(Open, analytics::handlers::ready)),
    ("ManagedAppNotification", with!(ManagedApp, managed_apps::handlers::notification)),
    // Ourselves.
    ("LookAtManagedApp", Handler::Queue(|app, text| Box::pin(managed_apps::handlers::look(app, text)))),
    ("AnalyticsPull", Handler::Timer(|app| Box::pin(analytics::handlers::pull(app)))),
    ("SendReports", Handler::Timer(|app| Box::pin(analytics::handlers::send_reports(app)))),
    ("ReportIngest", Handler::Queue(|app, text| Box::pin(analytics::handlers::ingest(app, text)))),
    ("CompareManagedApps", Handler::Timer(|app| Box::pin(managed_apps::handlers::compare(app)))),
    ("ErasePerson", Handler::Queue(|app, text| Box::pin(privacy::handlers::erase(app, text)))),
    ("KeepPrivacy", Handler::Timer(|app| Box::pin(privacy::handlers::keep(app)))),
    ("SyncSubscription", Handler::Queue(|app, text| Box::pin(fulfillment::handlers::sync_subscription(app, text)))),
    ("MeterSubscription", Handler::Queue(|app, text| Box::pin(metering::handlers::subscription_changed(app, text)))),
    ("RunMediaJob", Handler::Queue(|app, text| Box::pin(media::handlers::run_job(app, text)))),
    ("SetBackMediaJob", Handler::Queue(|app, text| Box::pin(media::handlers::set_back(app, text)))),
    ("ReviveMediaJobs", Handler::Timer(|app| Box::pin(media::handlers::revive_jobs(app)))),
    ("ExpireMedia", Handler::Timer(|app| Box::pin(media::handlers::expire(app)))),
    ("DeliverCallbacks", Handler::Queue(|app, text| Box::pin(callbacks::handlers::deliver(app, text)))),
    ("ReviveCallbacks", Handler::Timer(|app| Box::pin(callbacks::handlers::revive(app)))),
    ("ExpireCallbacks", Handler::Timer(|app| Box::pin(callbacks::handlers::expire(app)))),
    ("ProcessLead", Handler::Queue(|app, text| Box::pin(leads::handlers::process(app, text)))),
    ("ForwardLead", Handler::Queue(|app, text| Box::pin(leads::handlers::forward(app, text)))),
    ("ReviveLeads", Handler::Timer(|app| Box::pin(leads::handlers::revive(app)))),
    ("ReadLeadTable", Handler::Timer(|app| Box::pin(leads::handlers::read_table(app)))),
    ("MeterStorage", Handler::Timer(|app| Box::pin(media::handlers::meter_storage(app)))),
    ("SubmitUsage", Handler::Timer(|app| Box::pin(metering::handlers::submit_usage(app)))),
    ("ReconcileAnalytics", Handler::Timer(|app| Box::pin(analytics::finance::handlers::nightly(app)))),
    ("ReadBackUsage", Handler::Timer(|app| Box::pin(metering::handlers::read_back_usage(app)))),
    ("ReconcileSubscriptions", Handler::Timer(|app| Box::pin(fulfillment::handlers::reconcile_subscriptions(app)))),
    ("PurgeExpired", Handler::Timer(|app| Box::pin(identity::handlers::purge_expired(app)))),
];
