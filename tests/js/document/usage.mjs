// Initialize client
const client = new LMStudioClient();

// List available models
const models = await client.fetchModels();
console.log('Available models:', models);

// Select a model
await client.setCurrentModel(models[0].id);

// Non-streaming example
const response = await client.sendMessage('Hello, how are you?');
console.log('Response:', response.content);

// Streaming example
const streamingResponse = await client.sendMessage('Tell me a story', {
    stream: true,
    onToken: (token, fullContent) => {
        console.log('New token:', token);
        console.log('Full content so far:', fullContent);
    }
});
