const MockLMStudioServer = require('./mock-lmstudio-server');
const server = new MockLMStudioServer(1235); // Use different port for testing
