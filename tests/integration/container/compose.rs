//! `docker/compose.yaml`: its mounts exist, its containers are confined, and its parts find each other.

use std::time::Duration;

use roundelay::config::{PoolConfig, Program};
use serde_json::Value;

use super::{path, yaml};

/// The entries of a list of texts; empty if there is no list.
fn texts(value: &Value) -> Vec<&str> {
    value.as_array().map(|list| list.iter().map(|text| text.as_str().unwrap()).collect()).unwrap_or_default()
}

#[test]
fn compose_mounts_and_builds_only_existing_files() {
    let Some(compose) = yaml("docker/compose.yaml") else { return };
    let services = compose["services"].as_object().unwrap();
    assert_eq!(services.keys().collect::<Vec<_>>(), ["grafana", "prometheus", "roundelay"]);
    let mut mounted = 0;
    for (name, service) in services {
        for mount in texts(&service["volumes"]) {
            let parts: Vec<&str> = mount.split(':').collect();
            if parts[0].starts_with('.') {
                mounted += 1;
                assert!(path("docker").join(parts[0]).exists(), "{name}: {mount}");
                assert_eq!(parts.get(2), Some(&"ro"), "{name}: {mount}");
            } else {
                assert!(compose["volumes"].get(parts[0]).is_some(), "{name}: {mount} is declared nowhere");
            }
        }
        match service["build"].as_object() {
            Some(build) => {
                let context = path("docker").join(build["context"].as_str().unwrap());
                assert!(context.join(build["dockerfile"].as_str().unwrap()).is_file(), "{build:?}");
            }
            None => {
                let tag = service["image"].as_str().unwrap().split_once(':').unwrap().1;
                let is_whole = tag.matches('.').count() == 2 && tag.contains(|c: char| c.is_ascii_digit());
                assert!(is_whole, "{name}: {tag} may be another one tomorrow");
            }
        }
    }
    assert!(mounted >= 4);
}

#[test]
fn every_container_is_confined_and_has_time_to_stop() {
    let Some(compose) = yaml("docker/compose.yaml") else { return };
    let pool = PoolConfig::new("any", Program::Demo);
    let needed = pool.drain_timeout + pool.kill_timeout;
    for (name, service) in compose["services"].as_object().unwrap() {
        assert_eq!(service["read_only"], true, "{name}");
        assert_eq!(texts(&service["cap_drop"]), ["ALL"], "{name}");
        assert_eq!(texts(&service["security_opt"]), ["no-new-privileges:true"], "{name}");
        let grace = service["stop_grace_period"].as_str().unwrap().strip_suffix('s').unwrap();
        assert!(Duration::from_secs(grace.parse().unwrap()) > needed, "{name}: {grace}");
        // Our image has its healthcheck in the Dockerfile.
        assert_eq!(service.get("healthcheck").is_some(), service.get("build").is_none(), "{name}");
        let public: Vec<&str> =
            texts(&service["ports"]).into_iter().filter(|port| !port.starts_with("127.0.0.1:")).collect();
        assert_eq!(public, if name == "roundelay" { vec!["8080:8080"] } else { vec![] }, "{name}");
    }
    let tmpfs = texts(&compose["services"]["roundelay"]["tmpfs"]);
    assert!(tmpfs.iter().any(|mount| mount.starts_with("/tmp:") && mount.contains("mode=1777")), "{tmpfs:?}");
}

#[test]
fn prometheus_shares_the_loopback_and_grafana_finds_it() {
    let (Some(compose), Some(scrape), Some(source)) = (
        yaml("docker/compose.yaml"),
        yaml("docker/prometheus.yml"),
        yaml("docker/grafana/provisioning/datasources/prometheus.yaml"),
    ) else {
        return;
    };
    let services = &compose["services"];
    let admin = &scrape["scrape_configs"][0]["static_configs"][0]["targets"][0];
    assert_eq!(admin, &roundelay::config::Config::default().admin.listen.unwrap().to_string());
    assert_eq!(services["prometheus"]["network_mode"], "service:roundelay");
    assert!(services["prometheus"].get("ports").is_none(), "a shared network has its ports where it is");
    assert!(texts(&services["roundelay"]["ports"]).contains(&"127.0.0.1:9090:9090"));

    let source = &source["datasources"][0];
    assert_eq!(source["url"], "http://roundelay:9090");
    assert_eq!(source["jsonData"]["timeInterval"], scrape["global"]["scrape_interval"]);

    // The paths that Grafana reads are the mounted ones.
    let grafana = &services["grafana"];
    let on_disk = |inside: &str| {
        let mounts = texts(&grafana["volumes"]);
        let found = mounts.iter().find_map(|mount| {
            let parts: Vec<&str> = mount.split(':').collect();
            inside.strip_prefix(parts[1]).map(|rest| format!("docker/{}{rest}", &parts[0][2..]))
        });
        path(&found.unwrap_or_else(|| panic!("{inside} is not mounted")))
    };
    let home = grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"].as_str().unwrap();
    assert!(on_disk(home).is_file(), "{home}");
    let provider = yaml("docker/grafana/provisioning/dashboards/roundelay.yaml").unwrap();
    let folder = provider["providers"][0]["options"]["path"].as_str().unwrap();
    assert!(on_disk(folder).join("roundelay.json").is_file(), "{folder}");
}
