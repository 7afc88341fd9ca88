import MockLMStudioServer = require('lanhaven/mock-lmstudio-server');

const server: MockLMStudioServer = new MockLMStudioServer(1235);
server.start().then((url: string) => server.stop().then(() => console.log(url)));
