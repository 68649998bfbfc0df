// Steers what a real web client is interested in, from outside: its own wishes and the node's wish for more slots are
// held back, the test's take their place. Everything else passes as it is.

/** To be called before the page is opened. Returns `wish(interest)`, which waits for the node's answer. */
export async function steer(page) {
  let node;
  let last = 0;
  const own = new Map(); // the node's number → the page's
  const asked = new Map(); // the node's number → the test's promise
  await page.routeWebSocket(/\/ws(\?|$)/u, (client) => {
    node = client.connectToServer();
    client.onMessage((text) => {
      const request = JSON.parse(text);
      if (request.type === 'interest') {
        client.send(JSON.stringify({ v: 1, re: request.id, type: 'ok' }));
        return;
      }
      last += 1;
      own.set(last, request.id);
      node.send(JSON.stringify({ ...request, id: last }));
    });
    node.onMessage((text) => {
      const frame = JSON.parse(text);
      if (frame.type === 'pool') return;
      if (frame.re === undefined) return void client.send(text);
      const done = asked.get(frame.re);
      asked.delete(frame.re);
      if (done !== undefined) return void done(frame);
      client.send(JSON.stringify({ ...frame, re: own.get(frame.re) ?? frame.re }));
      own.delete(frame.re);
    });
  });
  return (interest) =>
    new Promise((resolve, reject) => {
      last += 1;
      asked.set(last, (frame) => (frame.type === 'ok' ? resolve() : reject(new Error(JSON.stringify(frame)))));
      node.send(JSON.stringify({ v: 1, id: last, type: 'interest', ...interest }));
    });
}
