// Steers what a real web client is interested in, from inside its page: its own wishes and the node's wish for more slots
// are held back, the test's take their place. Everything else passes as it is, and as quickly.

/** To be called before the page is opened. Returns `wish(interest)`, which waits for the node's answer. */
export async function steer(page) {
  await page.addInitScript(install);
  return (interest) => page.evaluate((interest) => window.steer(interest), interest);
}

/** Runs in the page before the client does: the client's WebSocket becomes one with a second voice. */
function install() {
  const Plain = window.WebSocket;
  window.WebSocket = class extends Plain {
    #last = 0;
    #own = new Map(); // the node's number → the client's
    #asked = new Map(); // the node's number → the test's promise
    #client = null;

    constructor(...args) {
      super(...args);
      super.onmessage = (event) => this.#received(event);
      window.steer = (interest) =>
        new Promise((resolve, reject) => {
          this.#last += 1;
          this.#asked.set(this.#last, (frame) => (frame.type === 'ok' ? resolve() : reject(new Error(JSON.stringify(frame)))));
          super.send(JSON.stringify({ v: 1, id: this.#last, type: 'interest', ...interest }));
        });
    }

    set onmessage(handler) {
      this.#client = handler;
    }

    get onmessage() {
      return this.#client;
    }

    send(text) {
      const request = JSON.parse(text);
      if (request.type === 'interest') {
        queueMicrotask(() => this.#hand({ v: 1, re: request.id, type: 'ok' }));
        return;
      }
      this.#last += 1;
      this.#own.set(this.#last, request.id);
      super.send(JSON.stringify({ ...request, id: this.#last }));
    }

    #hand(frame) {
      this.#client?.({ data: JSON.stringify(frame) });
    }

    #received({ data }) {
      const frame = JSON.parse(data);
      if (frame.type === 'pool') return;
      const done = this.#asked.get(frame.re);
      if (done !== undefined) {
        this.#asked.delete(frame.re);
        done(frame);
        return;
      }
      if (frame.re === undefined) {
        this.#hand(frame);
        return;
      }
      this.#hand({ ...frame, re: this.#own.get(frame.re) ?? frame.re });
      this.#own.delete(frame.re);
    }
  };
}
