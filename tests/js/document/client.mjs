// The client of the guide, as it is printed there: a server must serve it as well as ours.
export class LMStudioClient {
    constructor(baseUrl = 'http://127.0.0.1:1234') {
      this.baseUrl = baseUrl;
      this.currentModel = null;
    }
  
    async fetchModels() {
      const response = await fetch(`${this.baseUrl}/v1/models`);
      if (!response.ok) {
        throw new Error(`Failed to fetch models: ${response.statusText}`);
      }
      const data = await response.json();
      // The API returns { data: [ {id: "modelid1", ...}, {...} ], object: "list" }
      return data.data;
    }
  
    async setCurrentModel(modelId) {
      this.currentModel = modelId;
      return true;
    }
  
    async sendMessage(prompt, options = {}) {
      if (!this.currentModel) {
        throw new Error('No LM Studio model selected');
      }
      const {
        conversationHistory = [],
        onToken = null,
        temperature = 0.7,
        maxTokens = 2048,
        stream = Boolean(onToken),
      } = options;
  
      // Merge conversation
      const messages = [...conversationHistory, { role: 'user', content: prompt }];
  
      // Prepare request
      const response = await fetch(`${this.baseUrl}/v1/chat/completions`, {
        method: 'POST',
        headers: { 'Content-Type': 'application/json' },
        body: JSON.stringify({
          model: this.currentModel,
          messages,
          temperature,
          max_tokens: maxTokens,
          stream
        })
      });
  
      if (!response.ok) {
        throw new Error(`LM Studio request failed: ${response.statusText}`);
      }
  
      if (stream) {
        // Handle streaming
        const reader = response.body.getReader();
        const decoder = new TextDecoder();
        let buffer = '';
        let fullContent = '';
  
        while (true) {
          const { done, value } = await reader.read();
          if (done) break;
          buffer += decoder.decode(value, { stream: true });
  
          const lines = buffer.split('\n');
          buffer = lines.pop() || ''; // leftover
  
          for (const line of lines) {
            if (!line.trim() || line.trim() === 'data: [DONE]') continue;
            try {
              const jsonLine = JSON.parse(line.replace(/^data:\s?/, ''));
              const token = jsonLine.choices[0]?.delta?.content || '';
              if (token) {
                fullContent += token;
                onToken(token, fullContent);
              }
            } catch (err) {
              console.warn('Stream parse error:', err);
            }
          }
        }
  
        return { content: fullContent, streaming: true };
      }
  
      // Non-streaming
      const data = await response.json();
      return {
        content: data.choices[0].message.content,
        streaming: false
      };
    }
}
