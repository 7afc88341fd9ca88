'use strict';

const METHODS = 'GET, POST, OPTIONS';
const HEADERS = 'Content-Type, Accept, Authorization, X-API-Key';

/**
 * What lets pages read the answers. "*" never goes with credentials: browsers refuse that. A listed origin is told its
 * own name, with credentials.
 */
function corsHeaders(origins, request) {
  const origin = request.headers.origin;
  const listed = origin !== undefined && origins.includes(origin);
  const found = listed || origins.includes('*') ? [['Access-Control-Allow-Origin', listed ? origin : '*']] : [];
  if (listed) found.push(['Access-Control-Allow-Credentials', 'true']);
  if (found.length && request.method === 'OPTIONS') {
    found.push(['Access-Control-Allow-Methods', METHODS], ['Access-Control-Allow-Headers', HEADERS]);
  }
  return origins.includes('*') && origins.length === 1 ? found : [...found, ['Vary', 'Origin']];
}

module.exports = { corsHeaders };
