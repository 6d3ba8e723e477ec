import { serve } from '../../sdk/index.js';
import { RoutedNetwork } from './plugin.js';

const [socket = '/run/docker/plugins/routed.sock', file = '/var/lib/routed-network/networks.json'] = process.argv.slice(2);
await serve({ socket, network: new RoutedNetwork(file) });
