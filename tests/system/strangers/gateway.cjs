// A gateway on the msgpack-rpc of npm's neovim: one call from its beginning to its end. Prints what it saw as JSON.
const net = require('node:net');
const { Transport } = require('neovim/lib/utils/transport');

const socket = net.connect(Number(process.env.PORT), '127.0.0.1');
const transport = new Transport();
transport.attach(socket, socket, {});

function request(method, ...args) {
  return new Promise((resolve, reject) => {
    transport.request(method, args, (error, result) => (error ? reject(error) : resolve(result)));
  });
}

async function main() {
  const seen = {};
  const address = { gateway: 'npm', external_id: 'a84b4c76e66710@pc33' };
  seen.created = await request('create_session', {
    ...address,
    type: 'sip',
    state: 'ringing',
    caller: '+15550100',
    metadata: { codec: 'opus', attempt: 1 },
  });
  const { id } = seen.created;
  transport.notify('update_session_state', [id, 'active']);
  seen.stale = await request('update_session_state', address, 'ringing');
  seen.changed = await request('update_session_metadata', id, { codec: null, Zoë: true }, { if_version: 2 });
  seen.session = await request('get_session', id);
  const pongs = await Promise.all(Array.from({ length: 100 }, () => request('ping')));
  seen.pongs = pongs.filter((answer) => answer === 'pong').length;
  seen.error = await request('update_session_state', id, 'initializing').catch((error) => JSON.stringify(error));
  seen.listed = await request('list_sessions', { gateway: 'npm', fields: ['id', 'state'] });
  seen.ended = await request('end_session', id, null, { sip_code: 200 });
  seen.left = await request('count_sessions', { gateway: 'npm' });
  console.log(JSON.stringify(seen));
  socket.end();
}

main();
