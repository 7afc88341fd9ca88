/** Short names for what the server's routes say (schema.ts is made of its OpenAPI document by scripts/ui-types). */
import type { components } from "./schema";

type Schemas = components["schemas"];

export type LoadedInstance = Schemas["LoadedInstance"];
export type AvailableModel = Schemas["AvailableModel"];
export type AdminModels = Schemas["AdminModels"];
export type LoadSettings = Schemas["LoadSettings"];
export type InferenceDefaults = Schemas["InferenceDefaults"];
export type ModelLoaded = Schemas["ModelLoaded"];
export type LoadEstimate = Schemas["LoadEstimate"];
export type Memory = Schemas["Memory"];
export type PackedModel = Schemas["PackedModel"];
export type PackedModels = Schemas["PackedModels"];
export type Model = Schemas["Model"];
export type ModelList = Schemas["ModelList"];
export type EntryChanged = Schemas["EntryChanged"];

export type ApiKey = Schemas["ApiKey"];
export type NewApiKey = Schemas["NewApiKey"];
export type KeyLimits = Schemas["KeyLimits"];

export type ConnectApp = Schemas["ConnectApp"];
export type ConnectApps = Schemas["ConnectApps"];
export type ConnectProbe = Schemas["ConnectProbe"];
export type ConnectStep = Schemas["ConnectStep"];
export type Lan = Schemas["Lan"];

export type HistoryRequest = Schemas["HistoryRequest"];
export type RequestDetails = Schemas["RequestDetails"];
export type RequestPhase = Schemas["RequestPhase"];
export type RequestBody = Schemas["RequestBody"];
export type HistorySeries = Schemas["HistorySeries"];
export type UsageReport = Schemas["UsageReport"];
export type UsageRow = Schemas["UsageRow"];
export type Log = Schemas["Log"];
export type LogLine = Schemas["LogLine"];
export type BrowserSession = Schemas["BrowserSession"];
